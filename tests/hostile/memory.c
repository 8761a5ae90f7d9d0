/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * memory SEED SECONDS: ring pages with anything in them, which a guest goes on writing, and pictures of any shape,
 * each in an allocation of its own, so that the sanitizers see the first byte too many. Prints how many it tried.
 */
#include "flip.h"
#include "picture_ways.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAGE = 4096, STEPS = 400, SLOTS = 32, WIDEST = 400, HIGHEST = 9, SCALED = 600 };

static uint64_t state;
static uint8_t *shared;
static atomic_bool over;

static uint32_t any(uint64_t *from)
{
	*from = *from * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*from >> 33);
}

static uint32_t below(uint32_t limit)
{
	return any(&state) % limit;
}

static uint32_t edge(void)
{
	static const uint32_t edges[] = { 0, 1, 31, 32, 33, 62, 63, 64, 0x7fffffff, 0x80000000, 0xffffffff };

	return below(2) ? edges[below(sizeof(edges) / sizeof(edges[0]))] : any(&state) << 1;
}

static void *must(void *memory)
{
	if (!memory)
		abort();
	return memory;
}

/* Thread: the guest, which writes while we read. */
static void *guest(void *argument)
{
	uint64_t own = (uintptr_t)argument;

	while (!over) {
		uint32_t *index = (uint32_t *)shared + any(&own) % 4;

		__atomic_store_n(index, any(&own) % 3 ? __atomic_load_n(index, __ATOMIC_RELAXED) + any(&own) % 40 :
			 any(&own), __ATOMIC_RELAXED);
	}
	return NULL;
}

static void check(int good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		abort();
	}
}

static void try_requests(void)
{
	struct xdb_request_ring ring;
	uint8_t slot[XDB_SLOT];
	uint32_t owed = 0;

	xdb_request_ring_init(&ring, (uintptr_t)shared);
	for (int step = 0; step < STEPS; step++) {
		int taken = xdb_request_ring_take(&ring, slot);

		check(taken == 0 || taken == 1 || taken == -EPROTO, "take");
		owed += taken == 1;
		check(owed <= SLOTS, "more requests than slots");
		if (owed && below(3)) {
			xdb_request_ring_respond(&ring, slot);
			owed--;
		}
		if (!below(4))
			xdb_request_ring_push(&ring);
		if (!below(8))
			xdb_request_ring_idle(&ring);
		if (!below(16))
			__atomic_store_n((uint32_t *)shared, ring.rsp_prod + below(34), __ATOMIC_RELAXED);
	}
}

static void try_events(void)
{
	struct xdb_event_ring ring;

	xdb_event_ring_init(&ring, (uintptr_t)shared);
	for (int step = 0; step < STEPS; step++) {
		int sent = xdb_event_ring_send(&ring, step);

		check(sent == 0 || sent == 1 || sent == -EPROTO, "send");
		if (!below(4))
			__atomic_store_n((uint32_t *)shared, below(4) ? ring.in_prod - below(65) : edge(),
					 __ATOMIC_RELAXED);
	}
}

static void try_rings(void)
{
	pthread_t thread;

	for (int i = 0; i < 4; i++)
		((uint32_t *)shared)[i] = edge();
	over = false;
	check(pthread_create(&thread, NULL, guest, (void *)(uintptr_t)any(&state)) == 0, "thread");
	try_requests();
	try_events();
	over = true;
	pthread_join(thread, NULL);
}

static void try_picture(void)
{
	const int conversion = (int)below(XDB_YUYV + 1);
	const size_t unit = conversion == XDB_COPY ? 4 : xdb_unit_bytes(conversion);
	const uint32_t width = 1 + below(WIDEST), rows = 1 + below(HIGHEST);
	const int scaled = (int)below(2);
	const uint32_t to_width = scaled ? 1 + below(SCALED) : width, to_rows = scaled ? 1 + below(HIGHEST) : rows;
	const size_t pitch = width * unit + below(70), to_pitch = 4 * (size_t)to_width + 4 * below(20);
	/* They begin anywhere and end with the last pixel. */
	const size_t ofs = below(70), to_ofs = 4 * below(17);
	const size_t even = conversion == XDB_YUYV ? (width & 1) * 2 : 0;
	uint8_t *source = must(malloc(ofs + pitch * (rows - 1) + width * unit + even));
	uint8_t *target = must(malloc(to_ofs + to_pitch * (to_rows - 1) + 4 * (size_t)to_width));
	const struct xdb_job job = {
		.source = (uintptr_t)source + ofs,
		.destination = (uintptr_t)target + to_ofs,
		.source_pitch = pitch,
		.destination_pitch = to_pitch,
		.units = conversion == XDB_COPY ? 4 * (size_t)width : width,
		.rows = rows,
		.conversion = conversion,
		.scaled_width = scaled ? to_width : 0,
		.scaled_rows = scaled ? to_rows : 0,
	};
	uint64_t digest, now;

	memset(source, (int)below(256), ofs + pitch * (rows - 1) + width * unit + even);
	check(!xdb_run(&job, NULL) && !xdb_run(&job, &digest) && !xdb_digest(&job, &now), "run");
	check(digest == now, "the digest of a copy and that of its source");
	free(source);
	free(target);
}

int main(int count, char **arguments)
{
	unsigned long rings = 0, pictures = 0;
	time_t end;

	if (count != 3)
		return 2;
	state = strtoull(arguments[1], NULL, 0);
	end = time(NULL) + atoi(arguments[2]);
	shared = must(aligned_alloc(PAGE, PAGE));
	memset(shared, 0, PAGE);
	do {
		try_rings();
		rings++;
		for (int i = 0; i < 100; i++, pictures++)
			try_picture();
	} while (time(NULL) < end);
	free(shared);
	printf("%lu rings, %lu pictures\n", rings, pictures);
	return 0;
}
