/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One card: a thread that reads its flip events and gives each to whoever waits for it, which tells the guest.
 * The read blocks, which saves a poll for each flip; pthread_cancel() ends it.
 */
#include "flip.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLIP_COMPLETE = 2 /* DRM_EVENT_FLIP_COMPLETE */, READ_SIZE = 4096 };

/* struct drm_event and drm_event_vblank (drm.h); typed anew so that this needs no libdrm. A test compares. */
struct event {
	uint32_t type;
	uint32_t length;
};

struct flip_event {
	struct event event;
	uint64_t user_data;
	uint32_t seconds;
	uint32_t microseconds;
	uint32_t sequence;
	uint32_t crtc_id;
};

/* Who is told of a CRTC's flip events. CRTCs do not come and go: entries stay. */
struct listener {
	uint32_t crtc_id;
	struct xdb_scanout *scanout;	/* NULL: `mix`; both NULL: nobody */
	unsigned part;
	struct xdb_mix *mix;
};

struct xdb_card {
	int fd, failed_fd;
	int failure;		/* atomic */
	pthread_t thread;
	pthread_mutex_t lock;	/* held while a listener is told: nobody is told of what it is not any more */
	struct listener listeners[32];	/* the kernel knows no more CRTCs of a card */
	unsigned count;		/* of the entries that were ever used */
};

static void tell(struct xdb_card *card, const struct flip_event *flip)
{
	const uint64_t vblank = flip->seconds * 1000000000ull + flip->microseconds * 1000ull;

	pthread_mutex_lock(&card->lock);
	for (unsigned i = 0; i < card->count; i++) {
		const struct listener *listener = &card->listeners[i];

		if (listener->crtc_id != flip->crtc_id)
			continue;
		if (listener->scanout)
			xdb_scanout_on_flip_event(listener->scanout, listener->part, vblank);
		else if (listener->mix)
			xdb_mix_on_flip_event(listener->mix, vblank);
		break;
	}
	pthread_mutex_unlock(&card->lock);
}

/* Other types are skipped by their length. */
static void dispatch(struct xdb_card *card, const char *data, size_t size)
{
	struct flip_event flip;

	while (size >= sizeof(struct event)) {
		size_t length;

		memset(&flip, 0, sizeof(flip));
		memcpy(&flip, data, size < sizeof(flip) ? size : sizeof(flip));
		length = flip.event.length;
		if (length < sizeof(struct event) || length > size)
			return;
		if (flip.event.type == FLIP_COMPLETE && length >= sizeof(flip))
			tell(card, &flip);
		data += length;
		size -= length;
	}
}

static void *serve(void *argument)
{
	struct xdb_card *card = argument;
	char data[READ_SIZE];

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	for (;;) {
		ssize_t size;

		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		size = read(card->fd, data, sizeof(data));
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		if (size > 0) {
			dispatch(card, data, (size_t)size);
		} else if (size == 0 || errno != EINTR) {
			__atomic_store_n(&card->failure, size == 0 ? ENODEV : errno,
					 __ATOMIC_RELEASE);
			xdb_raise(card->failed_fd);
			return NULL;
		}
	}
}

struct xdb_card *xdb_card_new(int fd, int failed_fd)
{
	struct xdb_card *card = calloc(1, sizeof(*card));
	int error;

	if (!card)
		return NULL;
	card->fd = fd;
	card->failed_fd = failed_fd;
	pthread_mutex_init(&card->lock, NULL);
	error = xdb_start_thread(&card->thread, serve, card);
	if (error) {
		free(card);
		errno = error;
		return NULL;
	}
	return card;
}

/* The entry of that CRTC, or a free one; NULL. Under the lock. */
static struct listener *entry_of(struct xdb_card *card, uint32_t crtc_id)
{
	for (unsigned i = 0; i < card->count; i++)
		if (card->listeners[i].crtc_id == crtc_id)
			return &card->listeners[i];
	if (card->count == sizeof(card->listeners) / sizeof(*card->listeners))
		return NULL;
	return &card->listeners[card->count++];
}

static int listen_to(struct xdb_card *card, const struct listener *listener)
{
	struct listener *entry;

	pthread_mutex_lock(&card->lock);
	entry = entry_of(card, listener->crtc_id);
	if (entry)
		*entry = *listener;
	pthread_mutex_unlock(&card->lock);
	return entry ? 0 : -ENOSPC;
}

int xdb_card_tell(struct xdb_card *card, uint32_t crtc_id, struct xdb_scanout *scanout, unsigned part)
{
	const struct listener listener = { .crtc_id = crtc_id, .scanout = scanout, .part = part };

	return listen_to(card, &listener);
}

int xdb_card_tell_mix(struct xdb_card *card, uint32_t crtc_id, struct xdb_mix *mix)
{
	const struct listener listener = { .crtc_id = crtc_id, .mix = mix };

	return listen_to(card, &listener);
}

int xdb_card_failure(const struct xdb_card *card)
{
	return __atomic_load_n(&card->failure, __ATOMIC_ACQUIRE);
}

void xdb_card_free(struct xdb_card *card)
{
	pthread_cancel(card->thread);
	pthread_join(card->thread, NULL);
	pthread_mutex_destroy(&card->lock);
	free(card);
}
