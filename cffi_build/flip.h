/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hot path: a guest's PG_FLIP, from its doorbell to the flip event, without Python.
 *
 *   flip_ring.c      the control ring and the event page, from the backend's side
 *   flip_channel.c   one thread for each connector: doorbell, PG_FLIP, copy, commit; all else is handed to Python
 *   flip_scanout.c   what of it is on its way to the screens, and who may touch it
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

/* Scan-outs of guests' connectors (flip_scanout.c) */

/* A commit whose flip event does not come within this time will not come: 20 Hz modes take 50 ms. */
enum { XDB_STUCK_MS = 1000 };

/* On how many outputs one connector can be shown at a time. */
enum { XDB_PARTS = 4 };

/* How one framebuffer gets on one output. */
struct xdb_part {
	const struct xdb_job *jobs[2];	/* copies into either buffer; NULL: nothing is copied here */
	uintptr_t commit;		/* int (*)(void *const *arguments, unsigned count): 0, or a negative errno */
	uintptr_t arguments[2];		/* one for the commit that shows either buffer; equal where nothing is copied */
};

/* How one framebuffer of a guest is shown. Stays as it is while a scanout has it. */
struct xdb_path {
	uint64_t fb_cookie;
	unsigned count;
	struct xdb_part parts[XDB_PARTS];
	const struct xdb_job *look;	/* what is read of it, to see whether it changed; NULL: nobody copies it */
	int refresh;			/* what the guest draws into it later is not seen by itself */
};

struct xdb_scanout;
struct xdb_channel;

/* NULL with errno. `refresh_ms`: how often a picture is looked at while its guest does not flip; 0: never. */
struct xdb_scanout *xdb_scanout_new(int refresh_ms);

/* Its channel is freed, and no card or mix knows it any more. */
void xdb_scanout_free(struct xdb_scanout *scanout);

/* No flip begins from now on: the channel hands each to Python. */
void xdb_scanout_pause(struct xdb_scanout *scanout);
void xdb_scanout_resume(struct xdb_scanout *scanout);

/* 1: paused, and nothing is on its way any more; 0: not within `milliseconds`. May block so long. */
int xdb_scanout_wait(struct xdb_scanout *scanout, int milliseconds);

/*
 * A card is gone or stuck: forget all paths. xdb_scanout_abandon() then ends what is on its way, with its event;
 * it waits for a copy or a commit that runs.
 */
void xdb_scanout_stop(struct xdb_scanout *scanout);
void xdb_scanout_abandon(struct xdb_scanout *scanout);

/* While paused and idle. -ENOMEM. It replaces a path with the same cookie. */
int xdb_scanout_add(struct xdb_scanout *scanout, const struct xdb_path *path);
void xdb_scanout_remove(struct xdb_scanout *scanout, const struct xdb_path *path);

/* While paused and idle: `path` is on screen now by commits of Python's; `digest` is that of its copied picture. */
void xdb_scanout_shown(struct xdb_scanout *scanout, const struct xdb_path *path, uint64_t digest);

/* Which path is on screen, or NULL. While paused and idle. */
const struct xdb_path *xdb_scanout_path(const struct xdb_scanout *scanout);

/* Which of the two copy buffers, of each part, is not on screen, 0 or 1. While paused and idle. */
int xdb_scanout_side(const struct xdb_scanout *scanout);

/* A bit for each part that the card refused when it was shown last. While handed over. */
unsigned xdb_scanout_refused(const struct xdb_scanout *scanout);

/* A bit for each part whose flip event is to come. */
unsigned xdb_scanout_awaited(struct xdb_scanout *scanout);

/* Flip events sent by it, pictures that were copied, pictures that were shown, by flip or by refresh. */
uint64_t xdb_scanout_flips(const struct xdb_scanout *scanout);
uint64_t xdb_scanout_copies(const struct xdb_scanout *scanout);
uint64_t xdb_scanout_pictures(const struct xdb_scanout *scanout);

struct xdb_trace *xdb_scanout_trace(struct xdb_scanout *scanout);

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

/*
 * What of a connector must be known after this process's end, in memory that outlives it. Written by plain stores in an
 * order in which a process that is killed between any two of them leaves nothing wrong.
 */
struct xdb_record {
	uint32_t rsp_prod;	/* as the guest was shown it, or one less */
	uint32_t in_prod;	/* the same */
	uint32_t flip_rsp;	/* rsp_prod when the last flip is answered, */
	uint32_t flip_in;	/* in_prod until its event is sent, */
	uint64_t flip_cookie;	/* its framebuffer; 0: there was none since the last SET_CONFIG */
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

/*
 * NULL with errno. Its flips go to `scanout`, whose flip events are for it. `attention_fd`, an eventfd, becomes readable
 * when Python is to look at the channel. `record`: a struct xdb_record, which stays until xdb_channel_free().
 */
struct xdb_channel *xdb_channel_new(uintptr_t request_page, uintptr_t event_page,
				    const struct xdb_doorbell *doorbell, struct xdb_scanout *scanout,
				    int attention_fd, uintptr_t record);

/* Python takes a flip that it shows itself, before it answers it; `fb_cookie` 0: SET_CONFIG ends what was flipped to. */
void xdb_channel_note_flip(struct xdb_channel *channel, uint64_t fb_cookie);

/* Start the thread. 0 or a negative errno. */
int xdb_channel_start(struct xdb_channel *channel);

/* End the thread, after a flip that it is at. Blocking. Nothing is handed over any more. */
void xdb_channel_stop(struct xdb_channel *channel);

/* Nothing of it is on screen or on its way. Stops it, if that was not done. */
void xdb_channel_free(struct xdb_channel *channel);

/* enum xdb_handed, once; `slot` (XDB_SLOT bytes) and `error` (a positive errno) as it says. */
int xdb_channel_handed(struct xdb_channel *channel, void *slot, int *error);

/* Below: only while it is handed over, or stopped. */

/* Answer a request. */
void xdb_channel_respond(struct xdb_channel *channel, const void *response);

/* Go on. */
void xdb_channel_resume(struct xdb_channel *channel);

/* Tell the guest to look at both pages: whoever wrote there last may not have come to it. */
void xdb_channel_notify(struct xdb_channel *channel);

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

struct xdb_mix;

/*
 * Whom flip events of a CRTC are for, from now on: one part of a scanout's, or a mix. NULL: nobody. The former one is not
 * told any more when this returns. -ENOSPC: the kernel knows no more than 32 CRTCs of a card.
 */
int xdb_card_tell(struct xdb_card *card, uint32_t crtc_id, struct xdb_scanout *scanout, unsigned part);
int xdb_card_tell_mix(struct xdb_card *card, uint32_t crtc_id, struct xdb_mix *mix);

/* Why reading ended: a positive errno; 0: it goes on. */
int xdb_card_failure(const struct xdb_card *card);

/* End the thread and free. Blocking, not for long. */
void xdb_card_free(struct xdb_card *card);

/* What one C file needs of another */

/* Whom flip events are for; NULL: nobody, and no thread tells the former one any more. */
void xdb_scanout_attach(struct xdb_scanout *scanout, struct xdb_channel *channel);

/* The path to show `fb_cookie` by, now begun; NULL if that can't be now: *handed says why. */
const struct xdb_path *xdb_scanout_begin(struct xdb_scanout *scanout, uint64_t fb_cookie, int *handed);

/* Copy and commit what was begun. 0, or a negative errno: not every part was shown. */
int xdb_scanout_show(struct xdb_scanout *scanout, const struct xdb_path *path);

/* Show again what is on screen, if that has changed and nothing else is on its way. As xdb_scanout_show(). */
int xdb_scanout_refresh(struct xdb_scanout *scanout);

/* When to look at it although the doorbell is silent, in ms, or -1; a number for the commit in flight, or 0. */
int xdb_scanout_patience(struct xdb_scanout *scanout, uint64_t *in_flight);

/* The card says that the commit in flight of that part is on screen, since `vblank` (CLOCK_MONOTONIC, ns). */
void xdb_scanout_on_flip_event(struct xdb_scanout *scanout, unsigned part, uint64_t vblank);

/* The card says that the mix's commit is on screen. */
void xdb_mix_on_flip_event(struct xdb_mix *mix, uint64_t vblank);

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
