/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Rounds: buffers made, shown and removed over and over, for what leaks.
 */
#include "draw.h"

#include <stdio.h>
#include <string.h>

#define FAILURES_LIMIT 10 /* then the rest would fail too */

enum how { BY_FLIP, BY_SET, FROM_OFF };

struct spent {
    int64_t creating, showing, removing;
};

/* -1: none of them */
static int find_how(const char *word)
{
    static const char *const NAMES[] = {[BY_FLIP] = "flip", [BY_SET] = "set", [FROM_OFF] = "off"};
    for (int index = 0; index < 3; index++)
        if (!strcmp(word, NAMES[index]))
            return index;
    return fail("rounds I N flip|set|off [OPTION=VALUE ...]");
}

static int show_hidden(struct screen *screen, enum how how)
{
    if (how == BY_FLIP)
        return start_flip(screen) < 0 ? -1 : wait_for_flip(screen);
    screen->front = !screen->front;
    if (set_crtc(screen, 1) == 0)
        return 0;
    screen->front = !screen->front;
    return -1;
}

/* In: a visible buffer, or none; no hidden one. Out: the same. */
static int run_round(struct screen *screen, enum how how, struct spent *spent)
{
    int64_t started = microseconds();
    struct buffer *made = &screen->buffers[!screen->front];
    if (create_buffer(&screen->shape, made) < 0)
        return -1;
    int64_t created = microseconds();
    spent->creating += created - started;
    if (how == FROM_OFF) {
        release(&screen->buffers[screen->front]);
        spent->removing += microseconds() - created;
        created = microseconds();
    }
    int result = show_hidden(screen, how);
    int64_t shown = microseconds();
    spent->showing += shown - created;
    /* After a failure to show it that is the new one, unless its event is what is missing. */
    release(&screen->buffers[!screen->front]);
    spent->removing += microseconds() - shown;
    return result;
}

int run_rounds(struct screen *screen, const char *arguments)
{
    long count = 0, done = 0, failed = 0;
    char word[8] = "";
    int at = 0;
    sscanf(arguments, "%ld %7s%n", &count, word, &at);
    int how = find_how(word);
    struct shape shape = screen->shape;
    if (how < 0 || read_options(&shape, arguments + at) < 0)
        return -1;
    if (!screen->buffers[screen->front].fb)
        return fail("nothing is shown that a round could replace");
    screen->shape = shape;
    struct spent spent = {0};
    int64_t started = microseconds();
    release(&screen->buffers[!screen->front]);
    for (; done < count && failed < FAILURES_LIMIT; done++)
        if (run_round(screen, how, &spent) < 0) {
            failed++;
            printf("| round %ld: %s\n", done, answer);
        }
    long took = (microseconds() - started) / 1000, each = done ? done : 1;
    if (create_buffer(&shape, &screen->buffers[!screen->front]) < 0) {
        failed++;
        printf("| for show and flip afterwards: %s\n", answer);
    }
    snprintf(answer, sizeof answer,
             "rounds %ld failed %ld ms %ld create %ld show %ld remove %ld us", done, failed, took,
             (long)(spent.creating / each), (long)(spent.showing / each),
             (long)(spent.removing / each));
    return 0;
}
