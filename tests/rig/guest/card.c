/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The card, its connectors, and their modes.
 */
#include "draw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MODES 64

int card = -1;
int screens_count;
struct screen screens[CONNECTORS];

int64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

int control(int fd, unsigned long request, void *argument)
{
    int result;
    do
        result = ioctl(fd, request, argument);
    while (result < 0 && (errno == EINTR || errno == EAGAIN));
    return result;
}

void close_card(void)
{
    for (int index = 0; index < screens_count; index++)
        for (int side = 0; side < 2; side++)
            release(&screens[index].buffers[side]);
    if (card >= 0)
        close(card);
    card = -1;
    screens_count = 0;
}

static int look_at_connectors(void)
{
    uint32_t connectors[CONNECTORS], crtcs[CONNECTORS];
    struct drm_mode_card_res resources = {
        .connector_id_ptr = (uintptr_t)connectors,
        .count_connectors = CONNECTORS,
        .crtc_id_ptr = (uintptr_t)crtcs,
        .count_crtcs = CONNECTORS,
    };
    if (control(card, DRM_IOCTL_MODE_GETRESOURCES, &resources) < 0)
        return fail_errno("GETRESOURCES");
    if (resources.count_connectors > CONNECTORS || resources.count_connectors > resources.count_crtcs)
        return fail("%u connectors, %u CRTCs", resources.count_connectors, resources.count_crtcs);
    memset(screens, 0, sizeof screens);
    screens_count = resources.count_connectors;
    int used = snprintf(answer, sizeof answer, "%d", screens_count);
    for (int index = 0; index < screens_count; index++) {
        struct screen *screen = &screens[index];
        struct drm_mode_modeinfo modes[MODES];
        struct drm_mode_get_connector get = {
            .connector_id = connectors[index]};
        /* The first call has the driver look for modes, the second gets them. */
        if (control(card, DRM_IOCTL_MODE_GETCONNECTOR, &get) < 0)
            return fail_errno("GETCONNECTOR");
        if (get.count_modes > MODES)
            get.count_modes = MODES;
        get.modes_ptr = (uintptr_t)modes;
        get.count_props = get.count_encoders = 0;
        if (control(card, DRM_IOCTL_MODE_GETCONNECTOR, &get) < 0)
            return fail_errno("GETCONNECTOR");
        screen->connector = connectors[index];
        screen->crtc = crtcs[index];
        if (get.count_modes)
            screen->mode = modes[0];
        used += snprintf(answer + used, sizeof answer - used, " %dx%d%s", screen->mode.hdisplay,
                         screen->mode.vdisplay, get.connection == 1 ? "" : "(disconnected)");
    }
    return 0;
}

int open_card(const char *arguments)
{
    char wanted[16] = "xendrm-du";
    int seconds = 0;
    sscanf(arguments, "%d %15s", &seconds, wanted);
    int64_t deadline = microseconds() + seconds * 1000000LL;
    close_card();
    do {
        for (int minor = 0; minor < 16; minor++) {
            char path[32], driver[16] = "";
            struct drm_version version = {.name = driver, .name_len = sizeof driver - 1};
            snprintf(path, sizeof path, "/dev/dri/card%d", minor);
            int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
            if (fd < 0)
                continue;
            if (control(fd, DRM_IOCTL_VERSION, &version) == 0 && !strcmp(driver, wanted)) {
                card = fd;
                return look_at_connectors();
            }
            close(fd);
        }
        usleep(50000);
    } while (microseconds() < deadline);
    return fail("no %s card", wanted);
}

int set_crtc(struct screen *screen, int on)
{
    struct drm_mode_crtc set = {.crtc_id = screen->crtc};
    if (on) {
        set.fb_id = screen->buffers[screen->front].fb;
        set.set_connectors_ptr = (uintptr_t)&screen->connector;
        set.count_connectors = 1;
        set.mode = screen->mode;
        set.x = screen->shape.x;
        set.y = screen->shape.y;
        set.mode_valid = 1;
    }
    if (control(card, DRM_IOCTL_MODE_SETCRTC, &set) < 0)
        return fail_errno("SETCRTC");
    return 0;
}

static int read_shape(struct shape *shape, const char *arguments)
{
    char name[8] = "";
    int at = 0;
    *shape = (struct shape){.source = "dumb"};
    if (sscanf(arguments, "%ux%u %7s%n", &shape->width, &shape->height, name, &at) < 3)
        return fail("mode I WxH FOURCC [OPTION=VALUE ...]");
    shape->format = find_format(name);
    if (!shape->format)
        return fail("format %s is not known here", name);
    return read_options(shape, arguments + at);
}

int set_mode(struct screen *screen, const char *arguments)
{
    struct shape shape;
    if (read_shape(&shape, arguments) < 0)
        return -1;
    struct buffer old[2];
    memcpy(old, screen->buffers, sizeof old);
    memset(screen->buffers, 0, sizeof screen->buffers);
    screen->shape = shape;
    screen->front = 0;
    int result = 0;
    for (int side = 0; side < 2 && result == 0; side++) {
        result = create_buffer(&shape, &screen->buffers[side]);
        if (result == 0)
            result = draw(&shape, &screen->buffers[side], side);
    }
    if (result == 0)
        result = set_crtc(screen, 1);
    for (int side = 0; side < 2; side++)
        release(&old[side]);
    if (result == 0)
        snprintf(answer, sizeof answer, "pitch %u size %llu", screen->buffers[0].pitch,
                 (unsigned long long)screen->buffers[0].size);
    return result;
}
