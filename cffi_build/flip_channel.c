/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One connector of a guest: a thread that waits at its doorbell. A PG_FLIP is answered, copied where it must be, and
 * committed right here; its flip event comes to flip_card.c. Every other request, and whatever goes wrong, is handed
 * to Python: the thread then waits until it is resumed, and the port stays masked, so that requests are answered in
 * order and a guest that floods the ring waits for us, not we for it.
 *
 * System calls of a flip: poll, read, (notify), the commit, write; then flip_card.c's two.
 */
#include "flip.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { OPERATION_PG_FLIP = 0x15 };

/* A guest that rings the doorbell so often without a request is then listened to once in PAUSE_MS. */
enum { IN_VAIN = 64, PAUSE_MS = 2 };

/* struct xendispl_req and xendispl_resp (xen/io/displif.h), as far as a flip goes. */
struct request {
	uint16_t id;
	uint8_t operation;
	uint8_t reserved[5];
	uint64_t fb_cookie;
	uint8_t padding[48];
};

struct response {
	uint16_t id;
	uint8_t operation;
	uint8_t reserved;
	int32_t status;
	uint8_t padding[56];
};

_Static_assert(sizeof(struct request) == XDB_SLOT && sizeof(struct response) == XDB_SLOT, "slots");

struct xdb_channel {
	struct xdb_request_ring requests;
	struct xdb_event_ring events;
	pthread_mutex_t events_lock;	/* the card's thread and Python send events */
	uint64_t events_sent;		/* under it, as the next two */
	int events_dropped;
	bool events_broken;
	struct xdb_record *record;	/* in_prod under it too */
	struct xdb_doorbell doorbell;
	struct xdb_scanout *scanout;
	int attention_fd, control_fd;
	pthread_t thread;
	bool started, stop;
	bool rung;		/* the request port is masked */
	unsigned in_vain;	/* how often it was rung since the last request */
	struct request slot;
	int handed, error;	/* `handed`, atomic, is written last by this thread */
	bool taken;		/* Python was told of it */
	uint64_t in_flight;	/* the commit that was on its way when the wait began, */
	int waited_ms;		/* and how long it has been */
};

static void notify(const struct xdb_channel *channel, uint32_t port)
{
	/* It fails only for a port that is not ours any more: the guest that closed its end hears nothing. */
	((int (*)(void *, uint32_t))channel->doorbell.notify)((void *)channel->doorbell.handle, port);
}

/* For the next process: what is read by nobody in this one, so only the order of the stores matters. */

static void record(uint32_t *where, uint32_t value)
{
	__atomic_store_n(where, value, __ATOMIC_RELEASE);
}

/* First `flip_rsp`: until this flip is answered, nothing of it counts. */
void xdb_channel_note_flip(struct xdb_channel *channel, uint64_t fb_cookie)
{
	record(&channel->record->flip_rsp, channel->requests.rsp_prod + 1);
	record(&channel->record->flip_in, __atomic_load_n(&channel->record->in_prod, __ATOMIC_ACQUIRE));
	__atomic_store_n(&channel->record->flip_cookie, fb_cookie, __ATOMIC_RELEASE);
}

/* From the doorbell to the commit */

static void answer(struct xdb_channel *channel, const void *response)
{
	bool wanted;

	xdb_request_ring_respond(&channel->requests, response);
	wanted = xdb_request_ring_push(&channel->requests);
	record(&channel->record->rsp_prod, channel->requests.rsp_prod);
	if (wanted)
		notify(channel, channel->doorbell.request_port);
}

/* Why `slot` is Python's, or XDB_NOTHING: the flip is on its way. */
static int flip(struct xdb_channel *channel)
{
	const struct request *request = &channel->slot;
	const struct response response = { .id = request->id, .operation = OPERATION_PG_FLIP };
	const struct xdb_path *path;
	int handed, error;

	if (request->operation != OPERATION_PG_FLIP)
		return XDB_REQUEST;
	path = xdb_scanout_begin(channel->scanout, request->fb_cookie, &handed);
	if (!path)
		return handed;
	xdb_channel_note_flip(channel, request->fb_cookie);
	/* Before the commit: its flip event may come at once, and displif has the response first. */
	answer(channel, &response);
	xdb_trace_stamp(xdb_scanout_trace(channel->scanout), XDB_ANSWERED);
	error = xdb_scanout_show(channel->scanout, path);
	if (error) {
		channel->error = -error;
		return XDB_REFUSED;
	}
	return XDB_NOTHING;
}

/* Until the ring is empty, or something is for Python. */
static int drain(struct xdb_channel *channel)
{
	int taken, handed;

	do {
		while ((taken = xdb_request_ring_take(&channel->requests, &channel->slot)) > 0) {
			channel->in_vain = 0;
			if ((handed = flip(channel)) != XDB_NOTHING)
				return handed;
		}
		if (taken < 0)
			return XDB_VIOLATION;
	} while (!xdb_request_ring_idle(&channel->requests) &&
		 !__atomic_load_n(&channel->stop, __ATOMIC_ACQUIRE));
	return XDB_NOTHING;
}

/* The doorbell was silent for `milliseconds`. */
static int look_at_scanout(struct xdb_channel *channel, int milliseconds)
{
	uint64_t in_flight;
	int error;

	xdb_scanout_patience(channel->scanout, &in_flight);
	if (in_flight && in_flight == channel->in_flight) {
		channel->waited_ms += milliseconds;
		return channel->waited_ms >= XDB_STUCK_MS ? XDB_STUCK : XDB_NOTHING;
	}
	error = xdb_scanout_refresh(channel->scanout);
	if (error) {
		channel->error = -error;
		return XDB_NOT_REFRESHED;
	}
	return XDB_NOTHING;
}

/* Of Python's, to stop or to resume, which may have come before it was waited for. Blocking. */
static void take_word(struct xdb_channel *channel)
{
	uint64_t words;
	ssize_t ignored = read(channel->control_fd, &words, sizeof(words));

	(void)ignored;
}

/* Until there is something to drain (then `rung`), or to hand over, or to stop for. */
static int wait_for_doorbell(struct xdb_channel *channel)
{
	struct xdb_doorbell *doorbell = &channel->doorbell;
	struct pollfd fds[] = {
		{ .fd = doorbell->fd, .events = POLLIN },
		{ .fd = channel->control_fd, .events = POLLIN },
	};
	uint64_t in_flight = 0;
	int milliseconds = xdb_scanout_patience(channel->scanout, &in_flight);
	int ready, port;

	if (in_flight != channel->in_flight) {
		channel->in_flight = in_flight;
		channel->waited_ms = 0;
	}
	if (channel->rung) {
		/* Other guests' threads want the CPU too. A request meanwhile waits for no longer than that. */
		if (channel->in_vain >= IN_VAIN)
			poll(&fds[1], 1, PAUSE_MS);
		((int (*)(void *, uint32_t))doorbell->unmask)((void *)doorbell->handle,
							      doorbell->request_port);
		channel->rung = false;
	}
	ready = poll(fds, 2, milliseconds);
	if (ready == 0)
		return look_at_scanout(channel, milliseconds);
	if (ready > 0 && fds[1].revents)
		take_word(channel);
	if (ready < 0 || !fds[0].revents)
		return XDB_NOTHING;
	xdb_trace_stamp(xdb_scanout_trace(channel->scanout), XDB_DOORBELL);
	port = ((int (*)(void *))doorbell->pending)((void *)doorbell->handle);
	if (port < 0 && errno != EAGAIN && errno != EINTR) {
		channel->error = errno;
		return XDB_BROKEN;
	}
	/* The guest has nothing to tell by the event page's port: it stays masked. */
	channel->rung = port == (int)doorbell->request_port;
	channel->in_vain += channel->rung && channel->in_vain < IN_VAIN;
	return XDB_NOTHING;
}

/* Python's turn, until it resumes or stops us. */
static void hand_over(struct xdb_channel *channel, int handed)
{
	__atomic_store_n(&channel->handed, handed, __ATOMIC_RELEASE);
	xdb_raise(channel->attention_fd);
	while (__atomic_load_n(&channel->handed, __ATOMIC_ACQUIRE) != XDB_NOTHING &&
	       !__atomic_load_n(&channel->stop, __ATOMIC_ACQUIRE))
		take_word(channel);
}

static void *serve(void *argument)
{
	struct xdb_channel *channel = argument;

	while (!__atomic_load_n(&channel->stop, __ATOMIC_ACQUIRE)) {
		int handed = drain(channel);

		if (handed == XDB_NOTHING)
			handed = wait_for_doorbell(channel);
		if (handed != XDB_NOTHING)
			hand_over(channel, handed);
	}
	return NULL;
}

/* The flip event, and others that Python sends */

int xdb_channel_send_event(struct xdb_channel *channel, uint64_t fb_cookie)
{
	int sent;

	pthread_mutex_lock(&channel->events_lock);
	sent = xdb_event_ring_send(&channel->events, fb_cookie);
	if (sent > 0) {
		channel->events_sent++;
		record(&channel->record->in_prod, channel->events.in_prod);
	} else if (sent == 0) {
		channel->events_dropped++;
	} else {
		channel->events_broken = true;
	}
	pthread_mutex_unlock(&channel->events_lock);
	if (sent > 0)
		notify(channel, channel->doorbell.event_port);
	else
		xdb_raise(channel->attention_fd);
	return sent;
}

int xdb_channel_event_faults(struct xdb_channel *channel)
{
	int faults;

	pthread_mutex_lock(&channel->events_lock);
	faults = channel->events_broken ? -EPROTO : channel->events_dropped;
	channel->events_dropped = 0;
	pthread_mutex_unlock(&channel->events_lock);
	return faults;
}

uint64_t xdb_channel_events_sent(struct xdb_channel *channel)
{
	uint64_t sent;

	pthread_mutex_lock(&channel->events_lock);
	sent = channel->events_sent;
	pthread_mutex_unlock(&channel->events_lock);
	return sent;
}

/* Python's side */

struct xdb_channel *xdb_channel_new(uintptr_t request_page, uintptr_t event_page,
				    const struct xdb_doorbell *doorbell, struct xdb_scanout *scanout,
				    int attention_fd, uintptr_t kept)
{
	struct xdb_channel *channel = calloc(1, sizeof(*channel));

	if (!channel)
		return NULL;
	channel->control_fd = eventfd(0, EFD_CLOEXEC);
	if (channel->control_fd < 0) {
		int error = errno;

		free(channel);
		errno = error;
		return NULL;
	}
	xdb_request_ring_init(&channel->requests, request_page);
	xdb_event_ring_init(&channel->events, event_page);
	pthread_mutex_init(&channel->events_lock, NULL);
	channel->record = (struct xdb_record *)kept;
	record(&channel->record->rsp_prod, channel->requests.rsp_prod);
	record(&channel->record->in_prod, channel->events.in_prod);
	channel->doorbell = *doorbell;
	channel->scanout = scanout;
	channel->attention_fd = attention_fd;
	xdb_scanout_attach(scanout, channel);
	return channel;
}

int xdb_channel_start(struct xdb_channel *channel)
{
	int error = xdb_start_thread(&channel->thread, serve, channel);

	channel->started = error == 0;
	return -error;
}

void xdb_channel_stop(struct xdb_channel *channel)
{
	if (!channel->started)
		return;
	__atomic_store_n(&channel->stop, true, __ATOMIC_RELEASE);
	xdb_raise(channel->control_fd);
	pthread_join(channel->thread, NULL);
	channel->started = false;
}

void xdb_channel_free(struct xdb_channel *channel)
{
	xdb_channel_stop(channel);
	xdb_scanout_attach(channel->scanout, NULL);
	pthread_mutex_destroy(&channel->events_lock);
	close(channel->control_fd);
	free(channel);
}

int xdb_channel_handed(struct xdb_channel *channel, void *slot, int *error)
{
	int handed = __atomic_load_n(&channel->handed, __ATOMIC_ACQUIRE);

	if (handed == XDB_NOTHING || channel->taken)
		return XDB_NOTHING;
	channel->taken = true;
	memcpy(slot, &channel->slot, XDB_SLOT);
	*error = channel->error;
	return handed;
}

void xdb_channel_respond(struct xdb_channel *channel, const void *response)
{
	answer(channel, response);
}

void xdb_channel_notify(struct xdb_channel *channel)
{
	notify(channel, channel->doorbell.request_port);
	notify(channel, channel->doorbell.event_port);
}

void xdb_channel_resume(struct xdb_channel *channel)
{
	channel->taken = false;
	__atomic_store_n(&channel->handed, XDB_NOTHING, __ATOMIC_RELEASE);
	xdb_raise(channel->control_fd);
}

void xdb_channel_indices(struct xdb_channel *channel, struct xdb_request_ring *requests,
			 struct xdb_event_ring *events)
{
	if (requests)
		*requests = channel->requests;
	pthread_mutex_lock(&channel->events_lock);
	if (events)
		*events = channel->events;
	pthread_mutex_unlock(&channel->events_lock);
}
