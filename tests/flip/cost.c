/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flips without a copy, between a guest and a card that cost next to nothing: cost FLIPS, for callgrind. */
#include "flip.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { REQUEST_PORT = 1, EVENT_PORT, CRTC = 40, COOKIE = 7 };

static int doorbell_fd, unmask_fd, event_pipe[2];
static sem_t event_came;

static int pending(void *handle)
{
	uint64_t count;

	(void)handle;
	return read(doorbell_fd, &count, sizeof(count)) < 0 ? -1 : REQUEST_PORT;
}

static int unmask(void *handle, uint32_t port)
{
	const uint64_t one = 1;

	(void)handle;
	(void)port;
	return write(unmask_fd, &one, sizeof(one)) < 0 ? -1 : 0;
}

static int notify(void *handle, uint32_t port)
{
	(void)handle;
	if (port == EVENT_PORT)
		sem_post(&event_came);
	return 0;
}

static int commit(void *argument)
{
	const uint32_t event[8] = { [0] = 2, [1] = 32, [7] = CRTC };

	(void)argument;
	return write(event_pipe[1], event, sizeof(event)) < 0 ? -errno : 0;
}

static void must(int good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

static void send_flip(uint8_t *page, uint32_t number)
{
	struct {
		uint16_t id;
		uint8_t operation, reserved[5];
		uint64_t fb_cookie;
	} request = { (uint16_t)number, 0x15, { 0 }, COOKIE };
	const uint64_t one = 1;

	memcpy(page + 64 + number % 32 * 64, &request, sizeof(request));
	__atomic_store_n((uint32_t *)page, number + 1, __ATOMIC_RELEASE);
	must(write(doorbell_fd, &one, sizeof(one)) > 0, "doorbell");
}

int main(int count, char **arguments)
{
	static uint8_t pages[2][4096] __attribute__((aligned(4096)));
	static const struct xdb_path path = { .fb_cookie = COOKIE, .commit = (uintptr_t)commit };
	uint32_t flips = count == 2 ? (uint32_t)atoi(arguments[1]) : 0;
	struct xdb_doorbell doorbell = { 0 };
	struct xdb_channel *channel;
	struct xdb_output *output = xdb_output_new(0);
	struct xdb_card *card;

	must((doorbell_fd = eventfd(0, 0)) >= 0 && (unmask_fd = eventfd(0, 0)) >= 0 &&
	     pipe(event_pipe) == 0, "fds");
	sem_init(&event_came, 0, 0);
	doorbell.fd = doorbell_fd;
	doorbell.pending = (uintptr_t)pending;
	doorbell.unmask = (uintptr_t)unmask;
	doorbell.notify = (uintptr_t)notify;
	doorbell.request_port = REQUEST_PORT;
	doorbell.event_port = EVENT_PORT;
	*(uint32_t *)&pages[0][12] = 1;
	channel = xdb_channel_new((uintptr_t)pages[0], (uintptr_t)pages[1], &doorbell, eventfd(0, 0));
	card = xdb_card_new(event_pipe[0], eventfd(0, 0));
	must(channel && output && card && xdb_card_add(card, CRTC, output) == 0 &&
	     xdb_output_add(output, &path) == 0, "set up");
	xdb_output_attach(output, channel);
	xdb_channel_show_on(channel, output);
	must(xdb_channel_start(channel) == 0, "start");
	for (uint32_t number = 0; number < flips; number++) {
		send_flip(pages[0], number);
		sem_wait(&event_came);
		/* The guest has read the event. */
		__atomic_store_n((uint32_t *)pages[1], number + 1, __ATOMIC_RELEASE);
	}
	xdb_channel_stop(channel);
	must(xdb_channel_events_sent(channel) == flips, "events");
	xdb_output_attach(output, NULL);
	xdb_channel_free(channel);
	xdb_card_free(card);
	xdb_output_free(output);
	return 0;
}
