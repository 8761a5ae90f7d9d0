# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ``xendisplback._ext._png``: libpng, for safe pictures. Loaded only where one is configured."""

from __future__ import annotations

from cffi import FFI

ffibuilder = FFI()

ffibuilder.cdef("""
int xdb_png_size(const char *data, size_t size, uint32_t *width, uint32_t *height, char *message);
int xdb_png_read(const char *data, size_t size, uint32_t *pixels, char *message);
""")

ffibuilder.set_source_pkgconfig(
    "xendisplback._ext._png",
    ["libpng"],
    r"""
    #include <errno.h>
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <png.h>

    enum { XDB_PNG_MESSAGE = 64 };

    static int end(png_image *image, int good, char *message)
    {
        memcpy(message, image->message, XDB_PNG_MESSAGE);
        message[XDB_PNG_MESSAGE - 1] = '\0';
        png_image_free(image);
        return good ? 0 : -EINVAL;
    }

    /* 0, or -EINVAL with libpng's message, 64 bytes. */
    static int xdb_png_size(const char *data, size_t size, uint32_t *width, uint32_t *height, char *message)
    {
        png_image image = { .version = PNG_IMAGE_VERSION };
        int good = png_image_begin_read_from_memory(&image, data, size);

        *width = image.width;
        *height = image.height;
        return end(&image, good, message);
    }

    /* As XRGB8888, over black. `pixels`: as many as xdb_png_size() said. As above, or -ENOMEM. */
    static int xdb_png_read(const char *data, size_t size, uint32_t *pixels, char *message)
    {
        png_image image = { .version = PNG_IMAGE_VERSION };
        const png_color black = { 0, 0, 0 };
        uint8_t *rgb;
        size_t count;
        int good;

        if (!png_image_begin_read_from_memory(&image, data, size))
            return end(&image, 0, message);
        image.format = PNG_FORMAT_RGB;
        count = (size_t)image.width * image.height;
        rgb = malloc(3 * count);
        if (!rgb) {
            png_image_free(&image);
            return -ENOMEM;
        }
        good = png_image_finish_read(&image, &black, rgb, 0, NULL);
        for (size_t i = 0; good && i < count; i++)
            pixels[i] = (uint32_t)rgb[3 * i] << 16 | (uint32_t)rgb[3 * i + 1] << 8 | rgb[3 * i + 2];
        free(rgb);
        return end(&image, good, message);
    }
    """,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
