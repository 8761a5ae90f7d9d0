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

struct xdb_output;
struct xdb_channel;
struct xdb_card;

#define XDB_STUCK_MS ...
struct xdb_path {
    uint64_t fb_cookie;
    const struct xdb_job *jobs[2];
    uintptr_t commit;
    uintptr_t arguments[2];
    int refresh;
};
struct xdb_output *xdb_output_new(int refresh_ms);
void xdb_output_free(struct xdb_output *output);
void xdb_output_attach(struct xdb_output *output, struct xdb_channel *channel);
void xdb_output_pause(struct xdb_output *output);
void xdb_output_resume(struct xdb_output *output);
int xdb_output_wait(struct xdb_output *output, int milliseconds);
void xdb_output_stop(struct xdb_output *output);
void xdb_output_abandon(struct xdb_output *output);
int xdb_output_add(struct xdb_output *output, const struct xdb_path *path);
void xdb_output_remove(struct xdb_output *output, const struct xdb_path *path);
void xdb_output_shown(struct xdb_output *output, const struct xdb_path *path, uint64_t digest);
const struct xdb_path *xdb_output_path(const struct xdb_output *output);
int xdb_output_side(const struct xdb_output *output);
uint64_t xdb_output_flips(const struct xdb_output *output);
uint64_t xdb_output_copies(const struct xdb_output *output);

struct xdb_flip_times { uint64_t at[...]; };
struct xdb_trace;
struct xdb_trace *xdb_output_trace(struct xdb_output *output);
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
enum xdb_handed {
    XDB_NOTHING, XDB_REQUEST, XDB_BUSY, XDB_REFUSED, XDB_NOT_REFRESHED, XDB_STUCK, XDB_VIOLATION,
    XDB_BROKEN, ...
};
struct xdb_channel *xdb_channel_new(uintptr_t request_page, uintptr_t event_page,
                                    const struct xdb_doorbell *doorbell, int attention_fd);
int xdb_channel_start(struct xdb_channel *channel);
void xdb_channel_stop(struct xdb_channel *channel);
void xdb_channel_free(struct xdb_channel *channel);
int xdb_channel_handed(struct xdb_channel *channel, void *slot, int *error);
void xdb_channel_respond(struct xdb_channel *channel, const void *response);
void xdb_channel_show_on(struct xdb_channel *channel, struct xdb_output *output);
void xdb_channel_resume(struct xdb_channel *channel);
int xdb_channel_send_event(struct xdb_channel *channel, uint64_t fb_cookie);
int xdb_channel_event_faults(struct xdb_channel *channel);
uint64_t xdb_channel_events_sent(struct xdb_channel *channel);
void xdb_channel_indices(struct xdb_channel *channel, struct xdb_request_ring *requests,
                         struct xdb_event_ring *events);

struct xdb_card *xdb_card_new(int fd, int failed_fd);
int xdb_card_add(struct xdb_card *card, uint32_t crtc_id, struct xdb_output *output);
int xdb_card_failure(const struct xdb_card *card);
void xdb_card_free(struct xdb_card *card);
""")

ffibuilder.set_source(
    "xendisplback._ext._flip",
    '#include "flip.h"\n#include "shared_memory.h"',
    sources=[
        "cffi_build/shared_memory.c",
        "cffi_build/picture_choice.c",
        "cffi_build/picture_convert.c",
        "cffi_build/picture_copy.c",
        "cffi_build/picture_digest.c",
        "cffi_build/flip_ring.c",
        "cffi_build/flip_channel.c",
        "cffi_build/flip_output.c",
        "cffi_build/flip_card.c",
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
