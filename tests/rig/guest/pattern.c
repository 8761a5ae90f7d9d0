/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Known pictures. Pattern K is a pure function of x, y and K; tests/rig/picture.py computes the same.
 */
#include "draw.h"

#include <string.h>

static const struct format FORMATS[] = {
    {"XR24", 4, 8, 16, 8, 8, 8, 0, 0},
    {"AR24", 4, 8, 16, 8, 8, 8, 0, 0xff000000},
    {"RG24", 3, 8, 16, 8, 8, 8, 0, 0},
    {"RG16", 2, 5, 11, 6, 5, 5, 0, 0},
    {"XR15", 2, 5, 10, 5, 5, 5, 0, 0},
    {"AR15", 2, 5, 10, 5, 5, 5, 0, 0x8000},
    {"XR12", 2, 4, 8, 4, 4, 4, 0, 0},
    {"AR12", 2, 4, 8, 4, 4, 4, 0, 0xf000},
};

const struct format *find_format(const char *name)
{
    for (size_t index = 0; index < sizeof FORMATS / sizeof FORMATS[0]; index++)
        if (!strcmp(FORMATS[index].name, name))
            return &FORMATS[index];
    return NULL;
}

void draw_pattern(const struct format *format, uint32_t width, uint32_t height, uint8_t *pixels,
                  uint32_t pitch, uint32_t pattern)
{
    const struct format *f = format;
    for (uint32_t y = 0; y < height; y++) {
        uint8_t *at = pixels + (size_t)y * pitch;
        for (uint32_t x = 0; x < width; x++, at += f->cpp) {
            uint32_t red = (x + 7 * pattern) & 255;
            uint32_t green = (y + 13 * pattern) & 255;
            uint32_t blue = ((x >> 2) ^ (y >> 1) ^ (29 * pattern)) & 255;
            uint32_t value = red >> (8 - f->red_bits) << f->red_at |
                             green >> (8 - f->green_bits) << f->green_at |
                             blue >> (8 - f->blue_bits) << f->blue_at | f->alpha;
            memcpy(at, &value, f->cpp);
        }
    }
}
