/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hot path: a guest's PG_FLIP, from its doorbell to the flip event, without Python.
 *
 *   flip_ring.c      the control ring and the event page, from the backend's side
 *   flip_channel.c   one thread for each connector: doorbell, PG_FLIP, copy, commit; all else is handed to Python
 *   flip_output.c    what is on its way to one CRTC, and who may touch it
 *   flip_card.c      one thread for each card: flip events, which end in the guest's event page
 *   flip_trace.c     when a flip came to each of these
 *   flip_thread.c    starting those threads, and waking each other
 *
 * Python makes and frees the structs, and decides everything else. Addresses of shared pages and of functions come
 * as integers, so that Python calls need no casts.
 */
#ifndef XDB_FLIP_H
#define XDB_FLIP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "picture.h"

/* Rings (flip_ring.c). Our own indices live here and are never read back from the page, which is the guest's too. */

enum { XDB_SLOT = 64 };

struct xdb_request_ring {
	uintptr_t page;
	uint32_t req_prod;	/* the guest's, as last seen */
	uint32_t req_cons;
	uint32_t rsp_prod;
	uint32_t published;	/* what of rsp_prod the guest was shown */
};

struct xdb_event_ring {
	uintptr_t page;
	uint32_t in_cons;	/* the guest's, as last seen */
	uint32_t in_prod;
};

/* Take the ring over as the page has it. */
void xdb_request_ring_init(struct xdb_request_ring *ring, uintptr_t page);

/* 1: the next request, copied once; 0: there is none; -EPROTO: the guest is more than a ring ahead of our responses. */
int xdb_request_ring_take(struct xdb_request_ring *ring, void *slot);

/* Write a response into the next slot; xdb_request_ring_push() shows it to the guest. */
void xdb_request_ring_respond(struct xdb_request_ring *ring, const void *response);

/* 1: the guest asked to be notified of one of the responses that it is shown now. */
int xdb_request_ring_push(struct xdb_request_ring *ring);

/* Ask to be notified of the next request. 0: one came meanwhile. */
int xdb_request_ring_idle(struct xdb_request_ring *ring);

void xdb_event_ring_init(struct xdb_event_ring *ring, uintptr_t page);

/* 1: a PG_FLIP event was delivered; 0: the guest has not read the last 63; -EPROTO: in_cons is nowhere behind in_prod. */
int xdb_event_ring_send(struct xdb_event_ring *ring, uint64_t fb_cookie);

/* Traces (flip_trace.c) */

/* When a flip came to each stage; CLOCK_MONOTONIC, ns. */
enum xdb_stage {
	XDB_DOORBELL,
	XDB_ANSWERED,
	XDB_COMMITTED,	/* the copy, if any, is done too */
	XDB_VBLANK,	/* as the kernel says */
	XDB_EVENT,	/* the card's thread has read the flip event */
	XDB_STAGES,
};

struct xdb_flip_times {
	uint64_t at[XDB_STAGES];
};

struct xdb_trace {
	pthread_mutex_t lock;
	struct xdb_flip_times *ring;	/* atomic; written to under the lock. NULL: nothing is traced */
	uint32_t size;
	uint64_t count;
	struct xdb_flip_times flip;	/* the one that is done */
};

/* Write each flip from now on into `ring`. At any time. */
void xdb_trace_start(struct xdb_trace *trace, struct xdb_flip_times *ring, uint32_t size);

/* No more; how many flips were traced: the ring holds the last of them. */
uint64_t xdb_trace_stop(struct xdb_trace *trace);

/* Outputs (flip_output.c) */

/* A commit whose flip event does not come within this time will not come: 20 Hz modes take 50 ms. */
enum { XDB_STUCK_MS = 1000 };

/* How one framebuffer of a guest gets on a lit output. Stays as it is while an output has it. */
struct xdb_path {
	uint64_t fb_cookie;
	const struct xdb_job *jobs[2];	/* copies into either buffer; NULL: nothing is copied */
	uintptr_t commit;		/* int (*)(void *): 0, or a negative errno; its flip event names the CRTC */
	uintptr_t arguments[2];		/* for the commit that shows either buffer; equal where nothing is copied */
	int refresh;			/* what the guest draws into it later is not seen by itself */
};

struct xdb_output;
struct xdb_channel;

/* NULL with errno. `refresh_ms`: how often a picture is looked at while its guest does not flip; 0: never. */
struct xdb_output *xdb_output_new(int refresh_ms);

/* No thread may know it any more. */
void xdb_output_free(struct xdb_output *output);

/* Whom flip events are for, from now on; NULL: nobody, and no thread tells the former one any more. Counts from 0. */
void xdb_output_attach(struct xdb_output *output, struct xdb_channel *channel);

/* No flip begins from now on: the channel hands each to Python. */
void xdb_output_pause(struct xdb_output *output);
void xdb_output_resume(struct xdb_output *output);

/* 1: paused, and nothing is on its way any more; 0: not within `milliseconds`. May block so long. */
int xdb_output_wait(struct xdb_output *output, int milliseconds);

/*
 * The card is gone or stuck: forget all paths. xdb_output_abandon() then ends what is on its way, with its event;
 * it waits for a copy or a commit that runs.
 */
void xdb_output_stop(struct xdb_output *output);
void xdb_output_abandon(struct xdb_output *output);

/* While paused and idle. -ENOMEM. It replaces a path with the same cookie. */
int xdb_output_add(struct xdb_output *output, const struct xdb_path *path);
void xdb_output_remove(struct xdb_output *output, const struct xdb_path *path);

/* While paused and idle: `path` is on screen now by a commit of Python's; `digest` is that of its copied picture. */
void xdb_output_shown(struct xdb_output *output, const struct xdb_path *path, uint64_t digest);

/* Which path is on screen, or NULL. While paused and idle. */
const struct xdb_path *xdb_output_path(const struct xdb_output *output);

/* Which of the two copy buffers is not on screen, 0 or 1. While paused and idle. */
int xdb_output_side(const struct xdb_output *output);

/* Of the channel that is attached: flip events sent for it, pictures that were copied. */
uint64_t xdb_output_flips(const struct xdb_output *output);
uint64_t xdb_output_copies(const struct xdb_output *output);

struct xdb_trace *xdb_output_trace(struct xdb_output *output);

/* Channels (flip_channel.c) */

/* An event channel handle of libxenevtchn, with one connector's ports: the library's functions, and what they take. */
struct xdb_doorbell {
	int fd;
	uintptr_t handle;
	uintptr_t pending;	/* int (*)(void *): a port, now masked; -1 with errno */
	uintptr_t unmask;	/* int (*)(void *, uint32_t) */
	uintptr_t notify;	/* the same */
	uint32_t request_port;
	uint32_t event_port;
};

/* Why a channel was handed to Python. */
enum xdb_handed {
	XDB_NOTHING,		/* it was not */
	XDB_REQUEST,		/* `slot` is for Python to answer */
	XDB_BUSY,		/* `slot` is a PG_FLIP before the previous one was shown */
	XDB_REFUSED,		/* the PG_FLIP in `slot` was answered, but the card refused: `error` */
	XDB_NOT_REFRESHED,	/* the card refused a refresh: `error` */
	XDB_STUCK,		/* no flip event came */
	XDB_VIOLATION,		/* the control ring makes no sense */
	XDB_BROKEN,		/* the doorbell failed: `error` */
};

/* NULL with errno. `attention_fd`, an eventfd, becomes readable when Python is to look at the channel. */
struct xdb_channel *xdb_channel_new(uintptr_t request_page, uintptr_t event_page,
				    const struct xdb_doorbell *doorbell, int attention_fd);

/* Start the thread. 0 or a negative errno. */
int xdb_channel_start(struct xdb_channel *channel);

/* End the thread, after a flip that it is at. Blocking. Nothing is handed over any more. */
void xdb_channel_stop(struct xdb_channel *channel);

/* No output knows it any more. Stops it, if that was not done. */
void xdb_channel_free(struct xdb_channel *channel);

/* enum xdb_handed, once; `slot` (XDB_SLOT bytes) and `error` (a positive errno) as it says. */
int xdb_channel_handed(struct xdb_channel *channel, void *slot, int *error);

/* Below: only while it is handed over, or stopped. */

/* Answer a request. */
void xdb_channel_respond(struct xdb_channel *channel, const void *response);

/* Where PG_FLIPs go; NULL: all to Python. */
void xdb_channel_show_on(struct xdb_channel *channel, struct xdb_output *output);

/* Go on. */
void xdb_channel_resume(struct xdb_channel *channel);

/* At any time: */

/* As xdb_event_ring_send(), with the notification. */
int xdb_channel_send_event(struct xdb_channel *channel, uint64_t fb_cookie);

/* Events that were dropped since the last call because the guest did not read its page; -EPROTO: it makes no sense. */
int xdb_channel_event_faults(struct xdb_channel *channel);

uint64_t xdb_channel_events_sent(struct xdb_channel *channel);

/* For messages; either may be NULL. */
void xdb_channel_indices(struct xdb_channel *channel, struct xdb_request_ring *requests,
			 struct xdb_event_ring *events);

/* Cards (flip_card.c) */

struct xdb_card;

/*
 * Read flip events from `fd`, blocking, in a thread of its own. `failed_fd`, an eventfd, becomes readable when that
 * fails for good. NULL with errno.
 */
struct xdb_card *xdb_card_new(int fd, int failed_fd);

/* Before the first flip on it. -ENOSPC: the kernel knows no more than 32 CRTCs of a card. */
int xdb_card_add(struct xdb_card *card, uint32_t crtc_id, struct xdb_output *output);

/* Why reading ended: a positive errno; 0: it goes on. */
int xdb_card_failure(const struct xdb_card *card);

/* End the thread and free. Blocking, not for long. */
void xdb_card_free(struct xdb_card *card);

/* What one C file needs of another */

/* The path to show `fb_cookie` by, now begun; NULL if that can't be now: *handed says why. */
const struct xdb_path *xdb_output_begin(struct xdb_output *output, uint64_t fb_cookie, int *handed);

/* Copy and commit what was begun. 0, or a negative errno: it was not shown. */
int xdb_output_show(struct xdb_output *output, const struct xdb_path *path);

/* Show again what is on screen, if that has changed and nothing else is on its way. As xdb_output_show(). */
int xdb_output_refresh(struct xdb_output *output);

/* When to look at the output although the doorbell is silent, in ms, or -1; a number for the commit in flight, or 0. */
int xdb_output_patience(struct xdb_output *output, uint64_t *in_flight);

/* The card says that the commit in flight is on screen, since `vblank` (CLOCK_MONOTONIC, ns). */
void xdb_output_on_flip_event(struct xdb_output *output, uint64_t vblank);

void xdb_trace_init(struct xdb_trace *trace);
void xdb_trace_destroy(struct xdb_trace *trace);
/* The flip that is done has come to `stage` now. */
void xdb_trace_stamp(struct xdb_trace *trace, enum xdb_stage stage);
/* Its flip event has come; it is on screen since `vblank`. */
void xdb_trace_end(struct xdb_trace *trace, uint64_t vblank);

/* A thread without signals, but for the faults that it causes itself. 0 or an errno. */
int xdb_start_thread(pthread_t *thread, void *(*work)(void *), void *argument);

/* Make an eventfd readable. */
void xdb_raise(int event_fd);

#endif
