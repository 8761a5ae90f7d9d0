/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Buffers: the card's dumb memory.
 */
#include "draw.h"

#include <string.h>
#include <sys/mman.h>

void draw(struct screen *screen, struct buffer *buffer, uint32_t pattern)
{
    draw_pattern(screen->format, screen->width, screen->height, buffer->pixels, buffer->pitch,
                 pattern);
}

int create_dumb(struct screen *screen, struct buffer *buffer)
{
    struct drm_mode_create_dumb create = {
        .width = screen->width, .height = screen->height, .bpp = screen->format->cpp * 8};
    if (control(card, DRM_IOCTL_MODE_CREATE_DUMB, &create) < 0)
        return fail_errno("CREATE_DUMB");
    buffer->handle = create.handle;
    buffer->pitch = create.pitch;
    buffer->size = create.size;
    struct drm_mode_map_dumb map = {.handle = create.handle};
    if (control(card, DRM_IOCTL_MODE_MAP_DUMB, &map) < 0)
        return fail_errno("MAP_DUMB");
    buffer->pixels = mmap(NULL, create.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, map.offset);
    if (buffer->pixels == MAP_FAILED)
        return fail_errno("mmap");
    return 0;
}

int add_framebuffer(struct screen *screen, struct buffer *buffer)
{
    const char *name = screen->format->name;
    struct drm_mode_fb_cmd2 add = {
        .width = screen->width,
        .height = screen->height,
        .pixel_format = fourcc_code(name[0], name[1], name[2], name[3]),
        .handles = {buffer->handle},
        .pitches = {buffer->pitch},
    };
    if (control(card, DRM_IOCTL_MODE_ADDFB2, &add) < 0)
        return fail_errno("ADDFB2");
    buffer->fb = add.fb_id;
    return 0;
}

void release(struct buffer *buffer)
{
    struct drm_gem_close gem = {.handle = buffer->handle};
    if (buffer->fb)
        control(card, DRM_IOCTL_MODE_RMFB, &buffer->fb);
    if (buffer->pixels && buffer->pixels != MAP_FAILED)
        munmap(buffer->pixels, buffer->size);
    if (buffer->handle)
        control(card, DRM_IOCTL_GEM_CLOSE, &gem);
    memset(buffer, 0, sizeof *buffer);
}
