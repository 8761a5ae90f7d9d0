# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds ``xendisplback._ext._flip``: the hot path, and memory that guests write too."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

ffibuilder = FFI()

# shared_memory.h and picture.h say what each does.
ffibuilder.cdef("""
uint32_t xdb_load_acquire(uintptr_t address);
void xdb_store_release(uintptr_t address, uint32_t value);
void xdb_fence(void);
void xdb_read(uintptr_t address, void *copy, size_t size);
void xdb_write(uintptr_t address, const void *data, size_t size);

enum xdb_conversion {
    XDB_COPY, XDB_RGB565, XDB_RGB888, XDB_XRGB4444, XDB_XRGB1555, XDB_YUYV, ...
};
struct xdb_job {
    uintptr_t source;
    uintptr_t destination;
    size_t source_pitch;
    size_t destination_pitch;
    size_t units;
    uint32_t rows;
    int conversion;
    uint32_t scaled_width;
    uint32_t scaled_rows;
};
int xdb_run(const struct xdb_job *job, uint64_t *digest);
int xdb_digest(const struct xdb_job *job, uint64_t *digest);
int xdb_choose_copy(void);
""")

# flip.h says what each does.
ffibuilder.cdef("""
struct xdb_request_ring { uint32_t req_prod; uint32_t req_cons; uint32_t rsp_prod; ...; };
struct xdb_event_ring { uint32_t in_cons; uint32_t in_prod; ...; };
void xdb_request_ring_init(struct xdb_request_ring *ring, uintptr_t page);
int xdb_request_ring_take(struct xdb_request_ring *ring, void *slot);
void xdb_request_ring_respond(struct xdb_request_ring *ring, const void *response);
int xdb_request_ring_push(struct xdb_request_ring *ring);
int xdb_request_ring_idle(struct xdb_request_ring *ring);
void xdb_event_ring_init(struct xdb_event_ring *ring, uintptr_t page);
int xdb_event_ring_send(struct xdb_event_ring *ring, uint64_t fb_cookie);

struct xdb_scanout;
struct xdb_channel;
struct xdb_card;
struct xdb_mix;

#define XDB_STUCK_MS ...
#define XDB_PARTS ...
struct xdb_part {
    const struct xdb_job *jobs[2];
    uintptr_t commit;
    uintptr_t arguments[2];
};
struct xdb_path {
    uint64_t fb_cookie;
    unsigned count;
    struct xdb_part parts[...];
    const struct xdb_job *look;
    int refresh;
};
struct xdb_scanout *xdb_scanout_new(int refresh_ms);
void xdb_scanout_free(struct xdb_scanout *scanout);
void xdb_scanout_pause(struct xdb_scanout *scanout);
void xdb_scanout_resume(struct xdb_scanout *scanout);
int xdb_scanout_wait(struct xdb_scanout *scanout, int milliseconds);
void xdb_scanout_stop(struct xdb_scanout *scanout);
void xdb_scanout_abandon(struct xdb_scanout *scanout);
int xdb_scanout_add(struct xdb_scanout *scanout, const struct xdb_path *path);
void xdb_scanout_remove(struct xdb_scanout *scanout, const struct xdb_path *path);
void xdb_scanout_shown(struct xdb_scanout *scanout, const struct xdb_path *path, uint64_t digest);
const struct xdb_path *xdb_scanout_path(const struct xdb_scanout *scanout);
int xdb_scanout_side(const struct xdb_scanout *scanout);
uint64_t xdb_scanout_flips(const struct xdb_scanout *scanout);
uint64_t xdb_scanout_copies(const struct xdb_scanout *scanout);
uint64_t xdb_scanout_pictures(const struct xdb_scanout *scanout);
unsigned xdb_scanout_refused(const struct xdb_scanout *scanout);
unsigned xdb_scanout_awaited(struct xdb_scanout *scanout);

struct xdb_flip_times { uint64_t at[...]; };
struct xdb_trace;
struct xdb_trace *xdb_scanout_trace(struct xdb_scanout *scanout);
void xdb_trace_start(struct xdb_trace *trace, struct xdb_flip_times *ring, uint32_t size);
uint64_t xdb_trace_stop(struct xdb_trace *trace);

struct xdb_doorbell {
    int fd;
    uintptr_t handle;
    uintptr_t pending;
    uintptr_t unmask;
    uintptr_t notify;
    uint32_t request_port;
    uint32_t event_port;
};
struct xdb_record {
    uint32_t rsp_prod;
    uint32_t in_prod;
    uint32_t flip_rsp;
    uint32_t flip_in;
    uint64_t flip_cookie;
};
enum xdb_handed {
    XDB_NOTHING, XDB_REQUEST, XDB_BUSY, XDB_REFUSED, XDB_NOT_REFRESHED, XDB_STUCK, XDB_VIOLATION,
    XDB_BROKEN, ...
};
struct xdb_channel *xdb_channel_new(uintptr_t request_page, uintptr_t event_page,
                                    const struct xdb_doorbell *doorbell,
                                    struct xdb_scanout *scanout, int attention_fd,
                                    uintptr_t record);
void xdb_channel_note_flip(struct xdb_channel *channel, uint64_t fb_cookie);
int xdb_channel_start(struct xdb_channel *channel);
void xdb_channel_stop(struct xdb_channel *channel);
void xdb_channel_free(struct xdb_channel *channel);
int xdb_channel_handed(struct xdb_channel *channel, void *slot, int *error);
void xdb_channel_respond(struct xdb_channel *channel, const void *response);
void xdb_channel_resume(struct xdb_channel *channel);
void xdb_channel_notify(struct xdb_channel *channel);
int xdb_channel_send_event(struct xdb_channel *channel, uint64_t fb_cookie);
int xdb_channel_event_faults(struct xdb_channel *channel);
uint64_t xdb_channel_events_sent(struct xdb_channel *channel);
void xdb_channel_indices(struct xdb_channel *channel, struct xdb_request_ring *requests,
                         struct xdb_event_ring *events);

struct xdb_card *xdb_card_new(int fd, int failed_fd);
int xdb_card_tell(struct xdb_card *card, uint32_t crtc_id, struct xdb_scanout *scanout,
                  unsigned part);
int xdb_card_tell_mix(struct xdb_card *card, uint32_t crtc_id, struct xdb_mix *mix);
int xdb_card_failure(const struct xdb_card *card);
void xdb_card_free(struct xdb_card *card);
""")

# flip_mix.h says what each does.
ffibuilder.cdef("""
#define XDB_LAYERS ...
struct xdb_place { int32_t x, y; int32_t width, height; };
struct xdb_mix_picture {
    struct xdb_mix *mix;
    unsigned layer;
    uintptr_t argument;
    const struct xdb_job *jobs[2];
    struct xdb_place place;
};
struct xdb_mix *xdb_mix_new(uintptr_t submit, uintptr_t composed_0, uintptr_t composed_1,
                            unsigned layers, uint64_t period_ns, int attention_fd);
int xdb_mix_start(struct xdb_mix *mix);
void xdb_mix_free(struct xdb_mix *mix);
int xdb_mix_submit(void *const *pictures, unsigned count);
void xdb_mix_tell(struct xdb_mix *mix, unsigned layer, struct xdb_scanout *scanout, unsigned part);
void xdb_mix_pause(struct xdb_mix *mix);
void xdb_mix_resume(struct xdb_mix *mix);
int xdb_mix_wait(struct xdb_mix *mix, int milliseconds);
int xdb_mix_compose(struct xdb_mix *mix, const struct xdb_mix_picture *picture);
void xdb_mix_shown(struct xdb_mix *mix, const struct xdb_mix_picture *picture);
void xdb_mix_remove(struct xdb_mix *mix, unsigned layer);
int xdb_mix_error(struct xdb_mix *mix);
uint64_t xdb_mix_commits(struct xdb_mix *mix);
uint64_t xdb_mix_copies(struct xdb_mix *mix);
void xdb_mix_on_flip_event(struct xdb_mix *mix, uint64_t vblank);
""")

ffibuilder.set_source(
    "xendisplback._ext._flip",
    '#include "flip_mix.h"\n#include "shared_memory.h"',
    sources=[
        "cffi_build/shared_memory.c",
        "cffi_build/picture_choice.c",
        "cffi_build/picture_convert.c",
        "cffi_build/picture_copy.c",
        "cffi_build/picture_digest.c",
        "cffi_build/flip_ring.c",
        "cffi_build/flip_channel.c",
        "cffi_build/flip_scanout.c",
        "cffi_build/flip_card.c",
        "cffi_build/flip_mix.c",
        "cffi_build/flip_pace.c",
        "cffi_build/flip_compose.c",
        "cffi_build/flip_trace.c",
        "cffi_build/flip_thread.c",
    ],
    include_dirs=["cffi_build"],
    depends=[str(header) for header in sorted(Path("cffi_build").glob("*.h"))],
    # -O3: the conversions are to be vectorised.
    extra_compile_args=["-O3", "-pthread"],
    extra_link_args=["-pthread"],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
