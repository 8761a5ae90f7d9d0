/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's program: draws known pictures through xen_drm_front with raw DRM ioctls, told by lines on
 * the console: "@N command ..." is answered by lines "| ..." and one "@N OK ..." or "@N ERR ...".
 *
 *   open SECONDS          find the card (a restarted backend plugs in a new one); connectors and modes
 *   close                 give the card back (before modetest, rmmod)
 *   mode I WxH FOURCC     two buffers with patterns 0 and 1, mode set with pattern 0
 *   flip I N              N page flips, waiting for each event
 *   flipfree I            flips until "stop I"
 *   show I K              pattern K into the hidden buffer, one flip
 *   paint I K             pattern K into the visible buffer, no flip
 *   off I, on I           the CRTC off, and on again with the last buffer
 *   klog TEXT             kernel log lines that contain TEXT
 *   sh COMMAND            a shell command
 *   poweroff
 *
 * Pattern K is a pure function of x, y and K; tests/rig/picture.py computes the same.
 */
#define _GNU_SOURCE
#include <libdrm/drm.h>
#include <libdrm/drm_fourcc.h>
#include <libdrm/drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CONNECTORS 4
#define EVENT_SECONDS 5
#define LOG_LEVEL_ERRORS 1 /* klogctl(8): nothing on the console that could cut an answer in two */

struct format {
    char name[5];
    int cpp;
    int red_bits, red_at, green_bits, green_at, blue_bits, blue_at;
    uint32_t alpha;
};

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

struct buffer {
    uint32_t handle, fb, pitch;
    uint64_t size;
    uint8_t *pixels;
};

struct screen {
    uint32_t connector, crtc;
    struct drm_mode_modeinfo mode;
    const struct format *format;
    uint32_t width, height;
    struct buffer buffers[2];
    int front;     /* what is visible, or will be after the flip that is pending */
    int in_use, pending, free_running;
    long flips;
    int64_t flip_started, run_started, shortest, longest;
    char error[128]; /* what ended a free run */
};

static int card = -1;
static int screens_count;
static struct screen screens[CONNECTORS];
static char answer[512];

static int64_t microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(answer, sizeof answer, format, arguments);
    va_end(arguments);
    return -1;
}

static int fail_errno(const char *what)
{
    return fail("%s: %s", what, strerror(errno));
}

static int control(int fd, unsigned long request, void *argument)
{
    int result;
    do
        result = ioctl(fd, request, argument);
    while (result < 0 && (errno == EINTR || errno == EAGAIN));
    return result;
}

/* --- buffers ---------------------------------------------------------------------------------------- */

static void draw(struct screen *screen, struct buffer *buffer, uint32_t pattern)
{
    const struct format *f = screen->format;
    for (uint32_t y = 0; y < screen->height; y++) {
        uint8_t *at = buffer->pixels + (size_t)y * buffer->pitch;
        for (uint32_t x = 0; x < screen->width; x++, at += f->cpp) {
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

static int create_dumb(struct screen *screen, struct buffer *buffer)
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

static int add_framebuffer(struct screen *screen, struct buffer *buffer)
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

static void release(struct buffer *buffer)
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

/* --- card and modes --------------------------------------------------------------------------------- */

static void close_card(void)
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
        struct drm_mode_modeinfo modes[8];
        struct drm_mode_get_connector get = {
            .connector_id = connectors[index]};
        /* The first call has the driver look for modes, the second gets them. */
        if (control(card, DRM_IOCTL_MODE_GETCONNECTOR, &get) < 0)
            return fail_errno("GETCONNECTOR");
        if (get.count_modes > 8)
            get.count_modes = 8;
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

static int open_card(const char *arguments)
{
    int64_t deadline = microseconds() + atoi(arguments) * 1000000LL;
    close_card();
    do {
        for (int minor = 0; minor < 16; minor++) {
            char path[32], driver[16] = "";
            struct drm_version version = {.name = driver, .name_len = sizeof driver - 1};
            snprintf(path, sizeof path, "/dev/dri/card%d", minor);
            int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
            if (fd < 0)
                continue;
            if (control(fd, DRM_IOCTL_VERSION, &version) == 0 && !strcmp(driver, "xendrm-du")) {
                card = fd;
                return look_at_connectors();
            }
            close(fd);
        }
        usleep(50000);
    } while (microseconds() < deadline);
    return fail("no xendrm-du card");
}

static int set_crtc(struct screen *screen, int on)
{
    struct drm_mode_crtc set = {.crtc_id = screen->crtc};
    if (on) {
        set.fb_id = screen->buffers[screen->front].fb;
        set.set_connectors_ptr = (uintptr_t)&screen->connector;
        set.count_connectors = 1;
        set.mode = screen->mode;
        set.mode_valid = 1;
    }
    if (control(card, DRM_IOCTL_MODE_SETCRTC, &set) < 0)
        return fail_errno("SETCRTC");
    return 0;
}

static int set_mode(struct screen *screen, const char *arguments)
{
    char name[8] = "";
    uint32_t width, height;
    if (sscanf(arguments, "%ux%u %7s", &width, &height, name) < 3)
        return fail("mode I WxH FOURCC");
    const struct format *format = NULL;
    for (size_t index = 0; index < sizeof FORMATS / sizeof FORMATS[0]; index++)
        if (!strcmp(FORMATS[index].name, name))
            format = &FORMATS[index];
    if (!format)
        return fail("format %s is not known here", name);
    struct buffer old[2];
    memcpy(old, screen->buffers, sizeof old);
    memset(screen->buffers, 0, sizeof screen->buffers);
    screen->format = format;
    screen->width = width;
    screen->height = height;
    screen->front = 0;
    int result = 0;
    for (int side = 0; side < 2 && result == 0; side++) {
        struct buffer *buffer = &screen->buffers[side];
        result = create_dumb(screen, buffer);
        if (result == 0) {
            draw(screen, buffer, side);
            result = add_framebuffer(screen, buffer);
        }
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

/* --- flips ------------------------------------------------------------------------------------------ */

static int start_flip(struct screen *screen)
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
    screen->flips = screen->longest = 0;
    screen->shortest = INT64_MAX;
    screen->error[0] = 0;
    screen->run_started = microseconds();
}

/* Takes the events there are; a flip of a free-running screen starts the next one. */
static int take_events(void)
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
        int64_t took = microseconds() - screen->flip_started;
        screen->pending = 0;
        screen->flips++;
        if (took < screen->shortest)
            screen->shortest = took;
        if (took > screen->longest)
            screen->longest = took;
        if (screen->free_running && start_flip(screen) < 0) {
            screen->free_running = 0;
            snprintf(screen->error, sizeof screen->error, "%.127s", answer);
        }
    }
    return 0;
}

static int wait_for_flip(struct screen *screen)
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

static int report_run(struct screen *screen)
{
    long mean = screen->flips ? (microseconds() - screen->run_started) / screen->flips : 0;
    snprintf(answer, sizeof answer, "flips %ld min %ld mean %ld max %ld us", screen->flips,
             screen->flips ? (long)screen->shortest : 0, mean, (long)screen->longest);
    return 0;
}

static int flip(struct screen *screen, long count)
{
    start_run(screen);
    while (screen->flips < count)
        if (start_flip(screen) < 0 || wait_for_flip(screen) < 0)
            return -1;
    return report_run(screen);
}

static int stop(struct screen *screen)
{
    screen->free_running = 0;
    if (screen->error[0])
        return fail("after %ld flips: %s", screen->flips, screen->error);
    if (wait_for_flip(screen) < 0)
        return -1;
    return report_run(screen);
}

/* --- the rest --------------------------------------------------------------------------------------- */

static int kernel_log(const char *text)
{
    static char log[1 << 20];
    int size = klogctl(3, log, sizeof log - 1), count = 0;
    if (size < 0)
        return fail_errno("klogctl");
    log[size] = 0;
    for (char *line = strtok(log, "\n"); line; line = strtok(NULL, "\n"))
        if (strstr(line, text)) {
            printf("| %s\n", line);
            count++;
        }
    snprintf(answer, sizeof answer, "%d", count);
    return 0;
}

static int shell(const char *text)
{
    char line[4096];
    FILE *pipe = popen(text, "r");
    if (!pipe)
        return fail_errno("popen");
    while (fgets(line, sizeof line, pipe))
        printf("| %s%s", line, strchr(line, '\n') ? "" : "\n");
    snprintf(answer, sizeof answer, "%d", WEXITSTATUS(pclose(pipe)));
    return 0;
}

static int screen_command(const char *command, struct screen *screen, const char *arguments)
{
    if (!strcmp(command, "mode"))
        return set_mode(screen, arguments);
    if (!screen->format)
        return fail("no mode set");
    if (!strcmp(command, "flip"))
        return flip(screen, atol(arguments));
    if (!strcmp(command, "flipfree")) {
        start_run(screen);
        screen->free_running = 1;
        return start_flip(screen);
    }
    if (!strcmp(command, "stop"))
        return stop(screen);
    if (!strcmp(command, "show")) {
        draw(screen, &screen->buffers[!screen->front], atoi(arguments));
        return start_flip(screen) < 0 ? -1 : wait_for_flip(screen);
    }
    if (!strcmp(command, "paint")) {
        draw(screen, &screen->buffers[screen->front], atoi(arguments));
        return 0;
    }
    if (!strcmp(command, "off"))
        return set_crtc(screen, 0);
    if (!strcmp(command, "on"))
        return set_crtc(screen, 1);
    return fail("unknown command %s", command);
}

static int run_command(const char *command, const char *arguments)
{
    if (!strcmp(command, "ping"))
        return 0;
    if (!strcmp(command, "klog"))
        return kernel_log(arguments);
    if (!strcmp(command, "sh"))
        return shell(arguments);
    if (!strcmp(command, "poweroff"))
        return reboot(RB_POWER_OFF);
    if (!strcmp(command, "close")) {
        close_card();
        return 0;
    }
    if (!strcmp(command, "open"))
        return open_card(arguments);
    char *rest;
    long index = strtol(arguments, &rest, 10);
    if (card < 0)
        return fail("card not open");
    if (rest == arguments || index < 0 || index >= screens_count)
        return fail("connector %s of %d", arguments, screens_count);
    return screen_command(command, &screens[index], rest + strspn(rest, " "));
}

static void serve_line(char *line)
{
    char command[32] = "";
    int number = 0, at = 0;
    if (sscanf(line, "@%d %31s %n", &number, command, &at) < 2)
        return; /* an echo, or noise from before the terminal was raw */
    answer[0] = 0;
    int result = run_command(command, line + at);
    printf("@%d %s %s\n", number, result < 0 ? "ERR" : "OK", answer);
    fflush(stdout);
}

/* The line ends have been made raw; what is cut off by a full buffer is noise. */
static void serve_console(void)
{
    static char pending[8192];
    static size_t used;
    ssize_t size = read(0, pending + used, sizeof pending - 1 - used);
    if (size <= 0)
        return;
    used += size;
    pending[used] = 0;
    char *line = pending, *end;
    while ((end = strpbrk(line, "\r\n"))) {
        *end = 0;
        serve_line(line);
        line = end + 1;
    }
    used = strlen(line);
    memmove(pending, line, used);
    if (used == sizeof pending - 1)
        used = 0;
}

int main(void)
{
    struct termios terminal;
    if (tcgetattr(0, &terminal) == 0) {
        cfmakeraw(&terminal);
        tcsetattr(0, TCSANOW, &terminal);
    }
    klogctl(8, NULL, LOG_LEVEL_ERRORS);
    printf("draw: ready\n");
    fflush(stdout);
    for (;;) {
        struct pollfd ready[] = {{.fd = 0, .events = POLLIN}, {.fd = card, .events = POLLIN}};
        if (poll(ready, 2, -1) <= 0)
            continue;
        if (ready[1].revents & POLLIN)
            take_events();
        else if (ready[1].revents)
            usleep(20000); /* unplugged: stays so until the host says "open" */
        if (ready[0].revents)
            serve_console();
    }
}
