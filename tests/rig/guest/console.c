/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Lines from the console, and the answers to them.
 */
#include "draw.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

char answer[512];

int fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(answer, sizeof answer, format, arguments);
    va_end(arguments);
    return -1;
}

int fail_errno(const char *what)
{
    return fail("%s: %s", what, strerror(errno));
}

static void serve_line(char *line, int (*run)(const char *command, const char *arguments))
{
    char command[32] = "";
    int number = 0, at = 0;
    if (sscanf(line, "@%d %31s %n", &number, command, &at) < 2)
        return; /* an echo, or noise from before the terminal was raw */
    answer[0] = 0;
    int result = run(command, line + at);
    printf("@%d %s %s\n", number, result < 0 ? "ERR" : "OK", answer);
    fflush(stdout);
}

/* The line ends have been made raw; what is cut off by a full buffer is noise. */
void serve_console(int (*run)(const char *command, const char *arguments))
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
        serve_line(line, run);
        line = end + 1;
    }
    used = strlen(line);
    memmove(pending, line, used);
    if (used == sizeof pending - 1)
        used = 0;
}
