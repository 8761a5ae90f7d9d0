/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flips without a copy, between guests and cards that cost next to nothing: cost FLIPS [CONNECTORS], for callgrind.
 * Each connector is a guest's only one; all flip at once, and again when all have their events.
 */
#include "flip.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { REQUEST_PORT = 1, EVENT_PORT, CRTC = 40, COOKIE = 7, MOST = 64, CRTCS = 32 };

struct connector {
	uint8_t requests[4096], events[4096];
	int doorbell_fd, unmask_fd, event_fd;
	uint32_t crtc;
	struct xdb_path path;
	struct xdb_channel *channel;
	struct xdb_record record;
	struct xdb_scanout *scanout;
};

static struct connector connectors[MOST] __attribute__((aligned(4096)));
static sem_t event_came;

static int pending(void *handle)
{
	const struct connector *connector = handle;
	uint64_t count;

	return read(connector->doorbell_fd, &count, sizeof(count)) < 0 ? -1 : REQUEST_PORT;
}

static int unmask(void *handle, uint32_t port)
{
	const struct connector *connector = handle;
	const uint64_t one = 1;

	(void)port;
	return write(connector->unmask_fd, &one, sizeof(one)) < 0 ? -1 : 0;
}

static int notify(void *handle, uint32_t port)
{
	(void)handle;
	if (port == EVENT_PORT)
		sem_post(&event_came);
	return 0;
}

static void must(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

static int commit(void *const *arguments, unsigned commits)
{
	const struct connector *connector = arguments[0];
	const uint32_t event[8] = { [0] = 2, [1] = 32, [7] = connector->crtc };

	must(commits == 1, "one commit");
	return write(connector->event_fd, event, sizeof(event)) < 0 ? -errno : 0;
}

static struct xdb_card *open_card(int *event_fd)
{
	int fds[2];

	must(pipe(fds) == 0, "pipe");
	*event_fd = fds[1];
	return xdb_card_new(fds[0], eventfd(0, 0));
}

static void connect_to(struct connector *connector, struct xdb_card *card, int event_fd, uint32_t crtc)
{
	struct xdb_doorbell doorbell = {
		.fd = eventfd(0, 0), .handle = (uintptr_t)connector, .pending = (uintptr_t)pending,
		.unmask = (uintptr_t)unmask, .notify = (uintptr_t)notify,
		.request_port = REQUEST_PORT, .event_port = EVENT_PORT,
	};

	connector->doorbell_fd = doorbell.fd;
	connector->unmask_fd = eventfd(0, 0);
	connector->event_fd = event_fd;
	connector->crtc = crtc;
	connector->path.fb_cookie = COOKIE;
	connector->path.count = 1;
	connector->path.parts[0].commit = (uintptr_t)commit;
	connector->path.parts[0].arguments[0] = (uintptr_t)connector;
	connector->path.parts[0].arguments[1] = (uintptr_t)connector;
	*(uint32_t *)&connector->requests[12] = 1;
	connector->scanout = xdb_scanout_new(0);
	connector->channel = xdb_channel_new((uintptr_t)connector->requests, (uintptr_t)connector->events,
					     &doorbell, connector->scanout, eventfd(0, 0),
					     (uintptr_t)&connector->record);
	must(card && connector->scanout && connector->channel, "set up");
	must(xdb_card_tell(card, crtc, connector->scanout, 0) == 0, "card");
	must(xdb_scanout_add(connector->scanout, &connector->path) == 0, "path");
	must(xdb_channel_start(connector->channel) == 0, "start");
}

static void send_flip(struct connector *connector, uint32_t number)
{
	struct {
		uint16_t id;
		uint8_t operation, reserved[5];
		uint64_t fb_cookie;
	} request = { (uint16_t)number, 0x15, { 0 }, COOKIE };
	const uint64_t one = 1;

	memcpy(connector->requests + 64 + number % 32 * 64, &request, sizeof(request));
	__atomic_store_n((uint32_t *)connector->requests, number + 1, __ATOMIC_RELEASE);
	must(write(connector->doorbell_fd, &one, sizeof(one)) > 0, "doorbell");
}

static void flip_all(uint32_t count, uint32_t rounds)
{
	for (uint32_t number = 0; number < rounds; number++) {
		for (uint32_t i = 0; i < count; i++)
			send_flip(&connectors[i], number);
		for (uint32_t i = 0; i < count; i++)
			sem_wait(&event_came);
		/* The guests have read their events. */
		for (uint32_t i = 0; i < count; i++)
			__atomic_store_n((uint32_t *)connectors[i].events, number + 1, __ATOMIC_RELEASE);
	}
}

int main(int argc, char **argv)
{
	uint32_t flips = argc > 1 ? (uint32_t)atoi(argv[1]) : 0;
	uint32_t count = argc > 2 ? (uint32_t)atoi(argv[2]) : 1;
	struct xdb_card *cards[MOST / CRTCS];
	int event_fd = -1;

	must(count > 0 && count <= MOST && flips % count == 0, "FLIPS CONNECTORS");
	sem_init(&event_came, 0, 0);
	for (uint32_t i = 0; i < count; i++) {
		if (i % CRTCS == 0)
			cards[i / CRTCS] = open_card(&event_fd);
		connect_to(&connectors[i], cards[i / CRTCS], event_fd, CRTC + i % CRTCS);
	}
	flip_all(count, flips / count);
	for (uint32_t i = 0; i < count; i++) {
		xdb_channel_stop(connectors[i].channel);
		must(xdb_channel_events_sent(connectors[i].channel) == flips / count, "events");
		xdb_channel_free(connectors[i].channel);
	}
	for (uint32_t i = 0; i < count; i += CRTCS)
		xdb_card_free(cards[i / CRTCS]);
	for (uint32_t i = 0; i < count; i++)
		xdb_scanout_free(connectors[i].scanout);
	return 0;
}
