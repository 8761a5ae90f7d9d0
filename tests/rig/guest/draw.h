/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the files of the guest's program share. Functions return 0, or -1 with `answer` saying why.
 */
#ifndef DRAW_H
#define DRAW_H

#include <libdrm/drm.h>
#include <libdrm/drm_fourcc.h>
#include <libdrm/drm_mode.h>
#include <stddef.h>
#include <stdint.h>

#define CONNECTORS 4
#define TIMED_FLIPS 4096

/* pattern.c: the formats, and pictures in them */

struct format {
    char name[5];
    int cpp;
    int red_bits, red_at, green_bits, green_at, blue_bits, blue_at;
    uint32_t alpha;
};

const struct format *find_format(const char *name);
void draw_pattern(const struct format *format, uint32_t width, uint32_t height, uint8_t *pixels,
                  uint32_t pitch, uint32_t pattern);

/* console.c: lines in, answers out */

extern char answer[512];

int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fail_errno(const char *what);
/* Reads what there is and gives each whole command to `run`. */
void serve_console(int (*run)(const char *command, const char *arguments));

/* buffers.c: memory that can be shown */

/* What a command asks for. 0: pitch is the driver's own or, imported, the row's bytes; size is
 * pitch * height. Imported sizes are rounded up to whole pages. */
struct shape {
    const struct format *format;
    uint32_t width, height;
    uint32_t pitch;
    uint64_t size;
    uint32_t x, y;   /* what of it the mode shows */
    char source[64]; /* dumb, udmabuf, udmabuf:scattered, heap:NAME */
};

struct buffer {
    uint32_t handle, fb, pitch;
    uint64_t size;
    uint8_t *pixels;
    int dmabuf; /* 0, the console, in dumb buffers */
};

/* "source=... pitch=... size=... at=X,Y", each optional. */
int read_options(struct shape *shape, const char *options);
int create_buffer(const struct shape *shape, struct buffer *buffer);
int draw(const struct shape *shape, struct buffer *buffer, uint32_t pattern);
void release(struct buffer *buffer);

/* dmabufs.c */

int make_dmabuf(const char *source, uint64_t size);
int sync_dmabuf(int fd, int start);
int list_sources(void);

/* card.c: the card, its connectors, modes */

struct screen {
    uint32_t connector, crtc;
    struct drm_mode_modeinfo mode;
    struct shape shape;
    struct buffer buffers[2];
    int front; /* what is visible, or will be after the flip that is pending */
    int pending, free_running;
    long flips;
    int64_t flip_started, run_started;
    int32_t took[TIMED_FLIPS]; /* microseconds of the last flips of a run */
    char error[128]; /* what ended a free run */
};

extern int card;
extern int screens_count;
extern struct screen screens[CONNECTORS];

int control(int fd, unsigned long request, void *argument);
int64_t microseconds(void);
int open_card(const char *arguments);
void close_card(void);
int set_crtc(struct screen *screen, int on);
int set_mode(struct screen *screen, const char *arguments);

/* flips.c */

int start_flip(struct screen *screen);
int wait_for_flip(struct screen *screen);
int take_events(void);
int flip(struct screen *screen, long count);
int flip_freely(struct screen *screen);
int stop(struct screen *screen);

/* hostile.c: "attack COMMAND ..." */

int hostile_command(const char *command, const char *arguments);

/* rounds.c */

int run_rounds(struct screen *screen, const char *arguments);

#endif
