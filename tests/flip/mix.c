/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests, a card and Python's part at once, for the sanitizers. Each guest draws into that of its two framebuffers that
 * was not shown last, as soon as it is told; the card looks at each buffer that it is given. "done", or what was wrong.
 */
#include "flip_mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 48, LAYERS = 4, PERIOD_US = 4000, ROUNDS = 200 };

static void check(bool good, const char *what)
{
	if (!good) {
		printf("%s\n", what);
		exit(1);
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* A layer and who draws it; the lowest is a background that nobody does. */
struct guest {
	struct xdb_place place;
	useconds_t draws_us;
	unsigned layer;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t told;
	bool waits, stop;
	bool is_told, dawdles;	/* atomic: it is told right now; it takes its time */
	uint8_t value;		/* of what it flipped to */
	unsigned events;
	uint8_t framebuffers[2][WIDTH * HEIGHT];
	struct xdb_job jobs[2][2];
	struct xdb_mix_picture pictures[2];
};

static struct guest guests[LAYERS] = {
	{ .place = { 0, 0, WIDTH, HEIGHT } },
	{ .place = { 2, 2, 20, 20 } },
	{ .place = { 12, 12, 20, 20 }, .draws_us = 500 },
	{ .place = { 40, 10, 8, 8 }, .draws_us = 5 * PERIOD_US },
};

static struct xdb_mix *mix;
static uint8_t buffers[2][HEIGHT][WIDTH];

/* The card */

static pthread_mutex_t card = PTHREAD_MUTEX_INITIALIZER;
static bool in_flight;
static int on_screen = -1;	/* -1: none */
static int flying;
static uint8_t seen[LAYERS];	/* what the layers have in the commit */

static unsigned top_layer(int x, int y)
{
	unsigned layer = LAYERS;

	while (layer--) {
		const struct xdb_place *place = &guests[layer].place;

		if (x >= place->x && x < place->x + place->width && y >= place->y &&
		    y < place->y + place->height)
			break;
	}
	return layer;
}

/* A layer is one picture of its guest's, of one value, or not there. */
static void look_at(int side)
{
	memset(seen, 0, sizeof(seen));
	for (int y = 0; y < HEIGHT; y++)
		for (int x = 0; x < WIDTH; x++) {
			const unsigned layer = top_layer(x, y);
			const uint8_t value = buffers[side][y][x];

			if (!seen[layer])
				seen[layer] = value;
			check(value == seen[layer], "two pictures in one layer");
		}
	check(seen[0] == 1, "the background");
}

static int submit(void *const *arguments, unsigned count)
{
	pthread_mutex_lock(&card);
	check(count == 1, "one composition");
	check(!in_flight, "two commits in flight");
	flying = (int)(uintptr_t)arguments[0] - 100;
	check(flying != on_screen, "drawn into what is on screen");
	look_at(flying);
	in_flight = true;
	pthread_mutex_unlock(&card);
	return 0;
}

static bool card_stops;

static void *serve_card(void *nothing)
{
	while (!__atomic_load_n(&card_stops, __ATOMIC_ACQUIRE)) {
		bool flipped;

		usleep(PERIOD_US);
		pthread_mutex_lock(&card);
		flipped = in_flight;
		in_flight = false;
		if (flipped)
			on_screen = flying;
		pthread_mutex_unlock(&card);
		if (flipped)
			xdb_mix_on_flip_event(mix, now_ns());
	}
	return nothing;
}

/* The guests */

void xdb_scanout_on_flip_event(struct xdb_scanout *scanout, unsigned part, uint64_t vblank)
{
	struct guest *guest = (struct guest *)scanout;
	uint8_t value;

	check(part == guest->layer && vblank, "who is told");
	__atomic_store_n(&guest->is_told, true, __ATOMIC_RELEASE);
	if (__atomic_load_n(&guest->dawdles, __ATOMIC_ACQUIRE))
		usleep(20000);
	pthread_mutex_lock(&card);
	value = seen[guest->layer];
	pthread_mutex_unlock(&card);
	pthread_mutex_lock(&guest->lock);
	check(guest->waits, "told without a flip");
	check(value == guest->value, "told before its frame was shown");
	guest->waits = false;
	guest->events++;
	pthread_cond_signal(&guest->told);
	pthread_mutex_unlock(&guest->lock);
	__atomic_store_n(&guest->is_told, false, __ATOMIC_RELEASE);
}

static void *serve_guest(void *argument)
{
	struct guest *guest = argument;
	uint8_t value = 1;

	for (unsigned frame = 0;; frame++) {
		void *picture = &guest->pictures[frame % 2];
		bool stop;

		value = value == 255 ? 2 : value + 1;
		memset(guest->framebuffers[frame % 2], value, sizeof(guest->framebuffers[0]));
		usleep(guest->draws_us);
		pthread_mutex_lock(&guest->lock);
		guest->value = value;
		guest->waits = true;
		pthread_mutex_unlock(&guest->lock);
		check(xdb_mix_submit(&picture, 1) == 0, "a picture is refused");
		pthread_mutex_lock(&guest->lock);
		while (guest->waits && !guest->stop)
			pthread_cond_wait(&guest->told, &guest->lock);
		stop = guest->stop;
		pthread_mutex_unlock(&guest->lock);
		if (stop)
			return NULL;
	}
}

static void add_pictures(struct guest *guest)
{
	const struct xdb_place *place = &guest->place;

	for (int i = 0; i < 2; i++) {
		struct xdb_mix_picture *picture = &guest->pictures[i];

		*picture = (struct xdb_mix_picture){ .mix = mix, .layer = guest->layer, .place = *place };
		for (int side = 0; side < 2; side++) {
			guest->jobs[i][side] = (struct xdb_job){
				.source = (uintptr_t)guest->framebuffers[i],
				.destination = (uintptr_t)&buffers[side][place->y][place->x],
				.source_pitch = WIDTH,
				.destination_pitch = WIDTH,
				.units = (size_t)place->width,
				.rows = (uint32_t)place->height,
				.conversion = XDB_COPY,
			};
			picture->jobs[side] = &guest->jobs[i][side];
		}
	}
}

static void start_guest(struct guest *guest)
{
	pthread_mutex_init(&guest->lock, NULL);
	pthread_cond_init(&guest->told, NULL);
	xdb_mix_tell(mix, guest->layer, (struct xdb_scanout *)guest, guest->layer);
	check(xdb_start_thread(&guest->thread, serve_guest, guest) == 0, "a thread");
}

/* As Python does when a guest dies; its memory may be anything after it. */
static void stop_guest(struct guest *guest)
{
	pthread_mutex_lock(&guest->lock);
	guest->stop = true;
	pthread_cond_signal(&guest->told);
	pthread_mutex_unlock(&guest->lock);
	pthread_join(guest->thread, NULL);
	xdb_mix_tell(mix, guest->layer, NULL, 0);
	check(!__atomic_load_n(&guest->is_told, __ATOMIC_ACQUIRE), "told although it is gone");
	xdb_mix_remove(mix, guest->layer);
	memset(guest->framebuffers, 255, sizeof(guest->framebuffers));
}

/* As Python does with a commit of its own. */
static void show(const struct xdb_mix_picture *picture)
{
	int side;

	xdb_mix_pause(mix);
	check(xdb_mix_wait(mix, 10000), "idle");
	side = xdb_mix_compose(mix, picture);
	pthread_mutex_lock(&card);
	check(side >= 0 && side != on_screen, "the hidden buffer");
	look_at(side);
	on_screen = side;
	pthread_mutex_unlock(&card);
	xdb_mix_shown(mix, picture);
	xdb_mix_resume(mix);
}

static void check_gone(const struct guest *guest)
{
	pthread_mutex_lock(&card);
	check(seen[guest->layer] == 1, "a guest that is gone");
	pthread_mutex_unlock(&card);
}

static void check_pace(void)
{
	const uint64_t ms = 1000000;
	struct xdb_pace pace = { .period = 16 * ms };
	uint64_t now = 100 * ms;

	pace.submitted = 90 * ms;
	xdb_pace_on_flip_event(&pace, 100 * ms, now);
	check(xdb_pace_due(&pace, now + ms) == 114 * ms, "before the next vblank");
	check(xdb_pace_due(&pace, now + 33 * ms) == 146 * ms, "before the third one");
	check(xdb_pace_due(&pace, 116 * ms - ms / 4) == 130 * ms, "a vblank that is too near");
	xdb_pace_on_commit(&pace, 0, ms);
	check(xdb_pace_due(&pace, now + ms) == 112 * ms, "as long before it as a commit takes");
	xdb_pace_on_commit(&pace, 0, 100 * ms);
	check(xdb_pace_due(&pace, now + ms) == 108 * ms, "half a period is the most");
	for (int i = 0; i < 200; i++)
		xdb_pace_on_commit(&pace, 0, ms / 10);
	check(xdb_pace_due(&pace, now + ms) > 113 * ms, "a slow commit is forgotten");
	for (int i = 0; i < 4; i++) {
		now = pace.submitted = now + 16 * ms;
		xdb_pace_on_flip_event(&pace, now + 1, now + 2);
	}
	check(xdb_pace_due(&pace, now + ms) == now + 16 * ms + 1, "without vblanks, a period");
	xdb_pace_on_flip_event(&pace, now + 16 * ms, now + 16 * ms);
	check(xdb_pace_due(&pace, now + 17 * ms) < now + 32 * ms, "vblanks after all");
}

int main(void)
{
	const uint64_t began = now_ns();
	pthread_t card_thread;
	uint64_t vblanks;

	check_pace();
	mix = xdb_mix_new((uintptr_t)submit, 100, 101, LAYERS, PERIOD_US * 1000u, -1);
	check(mix && xdb_mix_start(mix) == 0, "a mix");
	for (unsigned layer = 0; layer < LAYERS; layer++) {
		guests[layer].layer = layer;
		memset(guests[layer].framebuffers, 1, sizeof(guests[layer].framebuffers));
		add_pictures(&guests[layer]);
		show(&guests[layer].pictures[1]);
	}
	check(xdb_start_thread(&card_thread, serve_card, NULL) == 0, "a thread");
	for (unsigned layer = 1; layer < LAYERS; layer++)
		start_guest(&guests[layer]);
	for (int round = 0; round < ROUNDS; round++) {
		usleep(PERIOD_US);
		if (round % 10 == 5)
			show(round % 20 == 5 ? NULL : &guests[0].pictures[1]);
		if (round == ROUNDS / 2) {
			__atomic_store_n(&guests[3].dawdles, true, __ATOMIC_RELEASE);
			while (!__atomic_load_n(&guests[3].is_told, __ATOMIC_ACQUIRE))
				usleep(100);
			stop_guest(&guests[3]);
			show(NULL);
			check_gone(&guests[3]);
		}
	}
	stop_guest(&guests[1]);
	stop_guest(&guests[2]);
	__atomic_store_n(&card_stops, true, __ATOMIC_RELEASE);
	pthread_join(card_thread, NULL);
	vblanks = (now_ns() - began) / (PERIOD_US * 1000u) + 1;
	check(xdb_mix_error(mix) == 0 && xdb_mix_commits(mix) <= vblanks, "a commit for each vblank");
	for (unsigned layer = 1; layer < LAYERS; layer++)
		check(guests[layer].events >= 5, "guests that got nowhere");
	xdb_mix_free(mix);
	printf("done\n");
	return 0;
}
