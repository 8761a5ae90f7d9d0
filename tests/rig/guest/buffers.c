/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Buffers: the card's dumb memory, or a dma-buf that the card imports; their framebuffers.
 */
#include "draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int is_imported(const struct shape *shape)
{
    return strcmp(shape->source, "dumb") != 0;
}

static int read_option(struct shape *shape, const char *option)
{
    const char *value = strchr(option, '=');
    if (!value++ || !*value)
        return fail("option %s has no value", option);
    if (!strncmp(option, "source=", 7))
        snprintf(shape->source, sizeof shape->source, "%s", value);
    else if (!strncmp(option, "pitch=", 6))
        shape->pitch = strtoul(value, NULL, 10);
    else if (!strncmp(option, "size=", 5))
        shape->size = strtoull(value, NULL, 10);
    else if (!strncmp(option, "at=", 3)) {
        if (sscanf(value, "%u,%u", &shape->x, &shape->y) < 2)
            return fail("at=X,Y, not %s", option);
    } else
        return fail("unknown option %s", option);
    return 0;
}

int read_options(struct shape *shape, const char *options)
{
    char copy[256], *rest;
    snprintf(copy, sizeof copy, "%s", options);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        if (read_option(shape, word) < 0)
            return -1;
    uint32_t row = shape->width * shape->format->cpp;
    if (shape->pitch && shape->pitch < row)
        return fail("pitch %u is less than a row's %u bytes", shape->pitch, row);
    if (is_imported(shape))
        return 0;
    if (shape->size)
        return fail("size is for imported buffers");
    if (shape->pitch % shape->format->cpp)
        return fail("pitch %u is not a whole number of pixels", shape->pitch);
    return 0;
}

static int map_pixels(struct buffer *buffer, int fd, off_t offset)
{
    void *pixels = mmap(NULL, buffer->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    if (pixels == MAP_FAILED)
        return fail_errno("mmap");
    buffer->pixels = pixels;
    return 0;
}

/* A pitch that was asked for is had by a buffer that is wider than what is shown of it. */
static int create_dumb(const struct shape *shape, struct buffer *buffer)
{
    struct drm_mode_create_dumb create = {
        .width = shape->pitch ? shape->pitch / shape->format->cpp : shape->width,
        .height = shape->height,
        .bpp = shape->format->cpp * 8};
    if (control(card, DRM_IOCTL_MODE_CREATE_DUMB, &create) < 0)
        return fail_errno("CREATE_DUMB");
    buffer->handle = create.handle;
    buffer->pitch = create.pitch;
    buffer->size = create.size;
    struct drm_mode_map_dumb map = {.handle = create.handle};
    if (control(card, DRM_IOCTL_MODE_MAP_DUMB, &map) < 0)
        return fail_errno("MAP_DUMB");
    return map_pixels(buffer, card, map.offset);
}

static int import(const struct shape *shape, struct buffer *buffer)
{
    uint64_t page = sysconf(_SC_PAGESIZE);
    buffer->pitch = shape->pitch ? shape->pitch : shape->width * shape->format->cpp;
    buffer->size = shape->size ? shape->size : (uint64_t)buffer->pitch * shape->height;
    buffer->size = (buffer->size + page - 1) / page * page;
    int fd = make_dmabuf(shape->source, buffer->size);
    if (fd < 0)
        return -1;
    buffer->dmabuf = fd;
    struct drm_prime_handle prime = {.fd = fd};
    if (control(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime) < 0)
        return fail_errno("PRIME_FD_TO_HANDLE");
    buffer->handle = prime.handle;
    return map_pixels(buffer, fd, 0);
}

static int add_framebuffer(const struct shape *shape, struct buffer *buffer)
{
    const char *name = shape->format->name;
    struct drm_mode_fb_cmd2 add = {
        .width = shape->width,
        .height = shape->height,
        .pixel_format = fourcc_code(name[0], name[1], name[2], name[3]),
        .handles = {buffer->handle},
        .pitches = {buffer->pitch},
    };
    if (control(card, DRM_IOCTL_MODE_ADDFB2, &add) < 0)
        return fail_errno("ADDFB2");
    buffer->fb = add.fb_id;
    return 0;
}

int create_buffer(const struct shape *shape, struct buffer *buffer)
{
    int result = is_imported(shape) ? import(shape, buffer) : create_dumb(shape, buffer);
    if (result == 0)
        result = add_framebuffer(shape, buffer);
    if (result < 0)
        release(buffer);
    return result;
}

int draw(const struct shape *shape, struct buffer *buffer, uint32_t pattern)
{
    if (!buffer->pixels)
        return fail("the last mode has no buffer");
    if (buffer->dmabuf && sync_dmabuf(buffer->dmabuf, 1) < 0)
        return -1;
    draw_pattern(shape->format, shape->width, shape->height, buffer->pixels, buffer->pitch,
                 pattern);
    return buffer->dmabuf ? sync_dmabuf(buffer->dmabuf, 0) : 0;
}

void release(struct buffer *buffer)
{
    struct drm_gem_close gem = {.handle = buffer->handle};
    if (buffer->fb)
        control(card, DRM_IOCTL_MODE_RMFB, &buffer->fb);
    if (buffer->pixels)
        munmap(buffer->pixels, buffer->size);
    if (buffer->handle)
        control(card, DRM_IOCTL_GEM_CLOSE, &gem);
    if (buffer->dmabuf)
        close(buffer->dmabuf);
    memset(buffer, 0, sizeof *buffer);
}
