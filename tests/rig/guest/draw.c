/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest's program: draws known pictures through xen_drm_front with raw DRM ioctls, told by lines on
 * the console: "@N command ..." is answered by lines "| ..." and one "@N OK ..." or "@N ERR ...".
 *
 *   open SECONDS [DRIVER]           find the card (a restarted backend plugs in a new one): its
 *                                   connectors and modes; DRIVER for others than xen_drm_front
 *   close                           give the card back (before modetest, rmmod)
 *   sources                         what buffers can be made of here
 *   mode I WxH FOURCC [OPTION ...]  two buffers with patterns 0 and 1, mode set with pattern 0; W, H are the
 *                                   framebuffer's, the mode is always the connector's
 *       source=SOURCE                   dumb (default), or imported: udmabuf, udmabuf:scattered,
 *                                       heap:NAME, heap:cma (the contiguous one by whatever name)
 *       pitch=BYTES                     for ADDFB2 and drawing; a dumb buffer is made wider for it
 *       size=BYTES                      of imported buffers, rounded up to pages
 *       at=X,Y                          the framebuffer's pixel in the mode's upper left corner
 *                                       (xen_drm_front tells the backend only when the CRTC was off)
 *   flip I N                        N page flips, waiting for each event
 *   flipfree I                      flips until "stop I"
 *   show I K                        pattern K into the hidden buffer, one flip
 *   paint I K                       pattern K into the visible buffer, no flip
 *   rounds I N HOW [OPTION ...]     N times a new buffer is made and shown, and the one before it removed;
 *                                   shaped as "mode" said but for OPTIONs. "| round K: ..." tells each failure
 *       flip                            shown by a page flip
 *       set                             by SETCRTC, which is a page flip without an event
 *       off                             the visible one is removed first, which turns the CRTC off
 *   off I, on I                     the CRTC off, and on again with the last buffer
 *   attack COMMAND ...              a hostile guest's: hostile.c
 *   klog TEXT                       kernel log lines that contain TEXT
 *   sh COMMAND                      a shell command
 *   poweroff
 */
#include "draw.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/klog.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define LOG_LEVEL_ERRORS 1 /* klogctl(8): nothing on the console that could cut an answer in two */

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
    if (!screen->shape.format)
        return fail("no mode set");
    if (!strcmp(command, "flip"))
        return flip(screen, atol(arguments));
    if (!strcmp(command, "flipfree"))
        return flip_freely(screen);
    if (!strcmp(command, "stop"))
        return stop(screen);
    if (!strcmp(command, "show")) {
        if (draw(&screen->shape, &screen->buffers[!screen->front], atoi(arguments)) < 0)
            return -1;
        return start_flip(screen) < 0 ? -1 : wait_for_flip(screen);
    }
    if (!strcmp(command, "paint"))
        return draw(&screen->shape, &screen->buffers[screen->front], atoi(arguments));
    if (!strcmp(command, "rounds"))
        return run_rounds(screen, arguments);
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
    if (!strcmp(command, "sources"))
        return list_sources();
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
    if (!strcmp(command, "attack")) {
        char name[32] = "";
        int at = 0;
        sscanf(arguments, "%31s %n", name, &at);
        return hostile_command(name, arguments + at);
    }
    char *rest;
    long index = strtol(arguments, &rest, 10);
    if (card < 0)
        return fail("card not open");
    if (rest == arguments || index < 0 || index >= screens_count)
        return fail("connector %s of %d", arguments, screens_count);
    return screen_command(command, &screens[index], rest + strspn(rest, " "));
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
            serve_console(run_command);
    }
}
