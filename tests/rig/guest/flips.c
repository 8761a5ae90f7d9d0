/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Page flips, and the events that end them.
 */
#include "draw.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENT_SECONDS 5

int start_flip(struct screen *screen)
{
    struct drm_mode_crtc_page_flip flip = {
        .crtc_id = screen->crtc,
        .fb_id = screen->buffers[!screen->front].fb,
        .flags = DRM_MODE_PAGE_FLIP_EVENT,
        .user_data = screen - screens,
    };
    screen->flip_started = microseconds();
    if (control(card, DRM_IOCTL_MODE_PAGE_FLIP, &flip) < 0)
        return fail_errno("PAGE_FLIP");
    screen->front = !screen->front;
    screen->pending = 1;
    return 0;
}

static void start_run(struct screen *screen)
{
    screen->flips = 0;
    screen->error[0] = 0;
    screen->run_started = microseconds();
}

/* Takes the events there are; a flip of a free-running screen starts the next one. */
int take_events(void)
{
    char data[1024];
    ssize_t size = read(card, data, sizeof data);
    if (size < 0)
        return errno == EAGAIN ? 0 : fail_errno("read of DRM events");
    for (ssize_t at = 0; at + (ssize_t)sizeof(struct drm_event_vblank) <= size;) {
        struct drm_event_vblank event;
        memcpy(&event, data + at, sizeof event);
        at += event.base.length;
        if (event.base.type != DRM_EVENT_FLIP_COMPLETE || event.user_data >= CONNECTORS)
            continue;
        struct screen *screen = &screens[event.user_data];
        screen->took[screen->flips++ % TIMED_FLIPS] = microseconds() - screen->flip_started;
        screen->pending = 0;
        if (screen->free_running && start_flip(screen) < 0) {
            screen->free_running = 0;
            snprintf(screen->error, sizeof screen->error, "%.127s", answer);
        }
    }
    return 0;
}

int wait_for_flip(struct screen *screen)
{
    int64_t deadline = microseconds() + EVENT_SECONDS * 1000000LL;
    while (screen->pending) {
        struct pollfd ready = {.fd = card, .events = POLLIN};
        int left = (deadline - microseconds()) / 1000;
        if (left <= 0)
            return fail("no flip event within %d s", EVENT_SECONDS);
        if (poll(&ready, 1, left) > 0 && take_events() < 0)
            return -1;
    }
    return 0;
}

static int by_size(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int report_run(struct screen *screen)
{
    long mean = screen->flips ? (microseconds() - screen->run_started) / screen->flips : 0;
    long timed = screen->flips < TIMED_FLIPS ? screen->flips : TIMED_FLIPS;
    int32_t *took = screen->took;
    qsort(took, timed, sizeof *took, by_size);
    if (!timed)
        took[timed++] = 0;
    snprintf(answer, sizeof answer, "flips %ld mean %ld min %d median %d p99 %d max %d us",
             screen->flips, mean, took[0], took[timed / 2], took[timed * 99 / 100], took[timed - 1]);
    return 0;
}

int flip(struct screen *screen, long count)
{
    start_run(screen);
    while (screen->flips < count)
        if (start_flip(screen) < 0 || wait_for_flip(screen) < 0)
            return -1;
    return report_run(screen);
}

int flip_freely(struct screen *screen)
{
    start_run(screen);
    screen->free_running = 1;
    return start_flip(screen);
}

int stop(struct screen *screen)
{
    screen->free_running = 0;
    if (screen->error[0])
        return fail("after %ld flips: %s", screen->flips, screen->error);
    if (wait_for_flip(screen) < 0)
        return -1;
    return report_run(screen);
}
