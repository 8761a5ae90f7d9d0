/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One output's commits, of what several guests show on it. A layer's picture is ready (handed over by its scanout), then
 * flying (in the commit), then shown. The thread commits shortly before the vblank, so that all guests that keep the
 * pace get into each commit; at once if all who were on time lately are ready; and never later for one who was not.
 *
 * System calls of a commit: the first guest's wakes the thread (two, with its wait), a wait until the others are there
 * or the vblank is near (and one to end it if they are), the commit. With the last one ready: none but wake and commit.
 */
#include "flip_mix.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Periods after which a guest that did not flip is not waited for. */
enum { ON_TIME = 3 };

struct layer {
	struct xdb_content ready, flying, shown;
	struct xdb_scanout *scanout;	/* who is told; NULL: nobody */
	unsigned part;
	uint64_t flipped;		/* when the last flip event came; 0: none did */
};

struct xdb_mix {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;	/* for the thread; for Python */
	uintptr_t submit, composed[2];
	struct xdb_pace pace;
	int attention_fd;
	pthread_t thread;
	bool started, stop;
	int pauses;
	bool working;		/* the thread composes or commits, without the lock */
	bool in_flight;
	bool toggles;		/* what is flying was composed */
	unsigned side;		/* the buffer that is not on screen */
	uint64_t due;		/* until when the thread waits for others; 0: it does not */
	int error;
	int telling;		/* atomic: threads that are about to tell scanouts, without the lock */
	uint64_t serial;
	uint64_t commits, copies;	/* atomic */
	struct xdb_content drawn_for_python;
	unsigned count;
	struct layer layers[XDB_LAYERS];
	struct xdb_drawn drawn[2][XDB_LAYERS];
};

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t then)
{
	const struct timespec deadline = {
		.tv_sec = (time_t)(then / 1000000000u), .tv_nsec = (long)(then % 1000000000u),
	};

	return pthread_cond_timedwait(condition, lock, &deadline);
}

static void count_up(uint64_t *counter, unsigned by)
{
	__atomic_fetch_add(counter, by, __ATOMIC_RELAXED);
}

/* When a commit is made. All under the lock. */

static bool any_ready(const struct xdb_mix *mix)
{
	for (unsigned i = 0; i < mix->count; i++)
		if (mix->layers[i].ready.picture)
			return true;
	return false;
}

static bool may_begin(const struct xdb_mix *mix)
{
	return !mix->error && !mix->pauses && !mix->in_flight && any_ready(mix);
}

static bool is_awaited(const struct xdb_mix *mix, const struct layer *layer, uint64_t now)
{
	return !layer->ready.picture && layer->flipped && now < layer->flipped + ON_TIME * mix->pace.period;
}

static bool awaits_others(const struct xdb_mix *mix, uint64_t now)
{
	for (unsigned i = 0; i < mix->count; i++)
		if (is_awaited(mix, &mix->layers[i], now))
			return true;
	return false;
}

/* The thread is to do something that it does not know of. */
static bool is_to_wake(const struct xdb_mix *mix)
{
	return may_begin(mix) && !mix->working && (!mix->due || !awaits_others(mix, clock_ns()));
}

/* The thread */

/* Under the lock: what the output is to show, and in `arguments` how it gets there. How many these are. */
static unsigned take(struct xdb_mix *mix, struct xdb_content *contents, void **arguments)
{
	unsigned count = 0;

	mix->toggles = false;
	for (unsigned i = 0; i < mix->count; i++) {
		struct layer *layer = &mix->layers[i];

		contents[i] = layer->ready.picture ? layer->ready : layer->shown;
		layer->flying = layer->ready;
		layer->ready.picture = NULL;
		if (!layer->flying.picture)
			continue;
		if (layer->flying.picture->argument)
			arguments[count++] = (void *)layer->flying.picture->argument;
		else
			mix->toggles = true;
	}
	if (mix->toggles)
		arguments[count++] = (void *)mix->composed[mix->side];
	return count;
}

/* Under the lock. */
static void refused(struct xdb_mix *mix, int error)
{
	mix->error = -error;
	mix->in_flight = false;
	for (unsigned i = 0; i < mix->count; i++)
		mix->layers[i].flying.picture = NULL;
	xdb_raise(mix->attention_fd);
}

/* With the lock, which it lets go of meanwhile. Nobody else changes `side`, `toggles` or what is drawn while it works. */
static void commit(struct xdb_mix *mix, uint64_t began)
{
	struct xdb_content contents[XDB_LAYERS];
	void *arguments[XDB_LAYERS + 1];
	const unsigned count = take(mix, contents, arguments);
	const unsigned side = mix->side;
	const bool toggles = mix->toggles;
	int result = 0;

	mix->working = true;
	if (toggles) {
		pthread_mutex_unlock(&mix->lock);
		result = xdb_compose(contents, mix->drawn[side], mix->count, side);
		pthread_mutex_lock(&mix->lock);
	}
	if (result >= 0) {
		count_up(&mix->copies, (unsigned)result);
		/* Before the commit, because its flip event may come before the ioctl returns. */
		mix->in_flight = true;
		mix->pace.submitted = clock_ns();
		pthread_mutex_unlock(&mix->lock);
		result = ((int (*)(void *const *, unsigned))mix->submit)(arguments, count);
		pthread_mutex_lock(&mix->lock);
	}
	if (result)
		refused(mix, result);
	else
		count_up(&mix->commits, 1);
	mix->working = false;
	xdb_pace_on_commit(&mix->pace, began, clock_ns());
	pthread_cond_broadcast(&mix->idle);
}

static void *serve(void *argument)
{
	struct xdb_mix *mix = argument;

	pthread_mutex_lock(&mix->lock);
	while (!mix->stop) {
		const uint64_t now = clock_ns();

		if (!may_begin(mix)) {
			mix->due = 0;
			pthread_cond_wait(&mix->work, &mix->lock);
			continue;
		}
		if (!mix->due)
			mix->due = xdb_pace_due(&mix->pace, now);
		if (now < mix->due && awaits_others(mix, now)) {
			wait_until(&mix->work, &mix->lock, mix->due);
			continue;
		}
		mix->due = 0;
		commit(mix, now);
	}
	pthread_mutex_unlock(&mix->lock);
	return NULL;
}

/* The scanouts' side */

int xdb_mix_submit(void *const *pictures, unsigned count)
{
	int error = 0;

	for (unsigned i = 0; i < count; i++) {
		const struct xdb_mix_picture *picture = pictures[i];
		struct xdb_mix *mix = picture->mix;
		bool wake;

		pthread_mutex_lock(&mix->lock);
		if (mix->error)
			error = -mix->error;
		else
			mix->layers[picture->layer].ready = (struct xdb_content){ picture, ++mix->serial };
		wake = is_to_wake(mix);
		pthread_mutex_unlock(&mix->lock);
		/* Without the lock, which the thread wants first. */
		if (wake)
			pthread_cond_signal(&mix->work);
	}
	return error;
}

/* The card's side */

void xdb_mix_on_flip_event(struct xdb_mix *mix, uint64_t vblank)
{
	struct { struct xdb_scanout *scanout; unsigned part; } told[XDB_LAYERS];
	const uint64_t now = clock_ns();
	unsigned count = 0;
	bool wake;

	pthread_mutex_lock(&mix->lock);
	if (!mix->in_flight) {
		pthread_mutex_unlock(&mix->lock);
		return;
	}
	mix->in_flight = false;
	mix->side ^= mix->toggles;
	xdb_pace_on_flip_event(&mix->pace, vblank, now);
	for (unsigned i = 0; i < mix->count; i++) {
		struct layer *layer = &mix->layers[i];

		if (!layer->flying.picture)
			continue;
		layer->shown = layer->flying;
		layer->flying.picture = NULL;
		layer->flipped = now;
		if (!layer->scanout)
			continue;
		told[count].scanout = layer->scanout;
		told[count++].part = layer->part;
	}
	__atomic_fetch_add(&mix->telling, 1, __ATOMIC_ACQUIRE);
	wake = is_to_wake(mix);
	pthread_cond_broadcast(&mix->idle);
	pthread_mutex_unlock(&mix->lock);
	if (wake)
		pthread_cond_signal(&mix->work);
	for (unsigned i = 0; i < count; i++)
		xdb_scanout_on_flip_event(told[i].scanout, told[i].part, vblank);
	__atomic_fetch_sub(&mix->telling, 1, __ATOMIC_RELEASE);
}

/* Python's side */

struct xdb_mix *xdb_mix_new(uintptr_t submit, uintptr_t composed_0, uintptr_t composed_1, unsigned layers,
			    uint64_t period_ns, int attention_fd)
{
	struct xdb_mix *mix;
	pthread_condattr_t monotonic;

	if (layers > XDB_LAYERS || !period_ns) {
		errno = EINVAL;
		return NULL;
	}
	mix = calloc(1, sizeof(*mix));
	if (!mix)
		return NULL;
	mix->submit = submit;
	mix->composed[0] = composed_0;
	mix->composed[1] = composed_1;
	mix->count = layers;
	mix->pace.period = period_ns;
	mix->attention_fd = attention_fd;
	pthread_mutex_init(&mix->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&mix->work, &monotonic);
	pthread_cond_init(&mix->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return mix;
}

int xdb_mix_start(struct xdb_mix *mix)
{
	int error = xdb_start_thread(&mix->thread, serve, mix);

	mix->started = error == 0;
	return -error;
}

void xdb_mix_free(struct xdb_mix *mix)
{
	if (mix->started) {
		pthread_mutex_lock(&mix->lock);
		mix->stop = true;
		pthread_cond_signal(&mix->work);
		pthread_mutex_unlock(&mix->lock);
		pthread_join(mix->thread, NULL);
	}
	pthread_cond_destroy(&mix->work);
	pthread_cond_destroy(&mix->idle);
	pthread_mutex_destroy(&mix->lock);
	free(mix);
}

void xdb_mix_tell(struct xdb_mix *mix, unsigned layer, struct xdb_scanout *scanout, unsigned part)
{
	pthread_mutex_lock(&mix->lock);
	mix->layers[layer].scanout = scanout;
	mix->layers[layer].part = part;
	pthread_mutex_unlock(&mix->lock);
	while (__atomic_load_n(&mix->telling, __ATOMIC_ACQUIRE))
		usleep(200);
}

void xdb_mix_pause(struct xdb_mix *mix)
{
	pthread_mutex_lock(&mix->lock);
	mix->pauses++;
	pthread_mutex_unlock(&mix->lock);
}

void xdb_mix_resume(struct xdb_mix *mix)
{
	pthread_mutex_lock(&mix->lock);
	mix->pauses--;
	pthread_cond_signal(&mix->work);
	pthread_mutex_unlock(&mix->lock);
}

int xdb_mix_wait(struct xdb_mix *mix, int milliseconds)
{
	const uint64_t deadline = clock_ns() + (uint64_t)milliseconds * 1000000u;
	int idle;

	pthread_mutex_lock(&mix->lock);
	while (mix->working || mix->in_flight)
		if (wait_until(&mix->idle, &mix->lock, deadline) != 0)
			break;
	idle = !mix->working && !mix->in_flight;
	pthread_mutex_unlock(&mix->lock);
	return idle;
}

int xdb_mix_compose(struct xdb_mix *mix, const struct xdb_mix_picture *picture)
{
	struct xdb_content contents[XDB_LAYERS];
	unsigned side;
	int copies;

	pthread_mutex_lock(&mix->lock);
	side = mix->side;
	for (unsigned i = 0; i < mix->count; i++)
		contents[i] = mix->layers[i].shown;
	if (picture) {
		mix->drawn_for_python = (struct xdb_content){ picture, ++mix->serial };
		contents[picture->layer] = mix->drawn_for_python;
	}
	pthread_mutex_unlock(&mix->lock);
	copies = xdb_compose(contents, mix->drawn[side], mix->count, side);
	if (copies < 0)
		return copies;
	count_up(&mix->copies, (unsigned)copies);
	return (int)side;
}

void xdb_mix_shown(struct xdb_mix *mix, const struct xdb_mix_picture *picture)
{
	pthread_mutex_lock(&mix->lock);
	if (!picture || !picture->argument)
		mix->side ^= 1;
	if (picture && picture->argument)
		mix->layers[picture->layer].shown = (struct xdb_content){ picture, ++mix->serial };
	else if (picture)
		mix->layers[picture->layer].shown = mix->drawn_for_python;
	pthread_mutex_unlock(&mix->lock);
}

void xdb_mix_remove(struct xdb_mix *mix, unsigned layer)
{
	struct layer *removed = &mix->layers[layer];

	pthread_mutex_lock(&mix->lock);
	mix->pauses++;
	while (mix->working)
		pthread_cond_wait(&mix->idle, &mix->lock);
	removed->ready.picture = removed->flying.picture = removed->shown.picture = NULL;
	removed->flipped = 0;
	mix->pauses--;
	pthread_cond_signal(&mix->work);
	pthread_mutex_unlock(&mix->lock);
}

int xdb_mix_error(struct xdb_mix *mix)
{
	int error;

	pthread_mutex_lock(&mix->lock);
	error = mix->error;
	pthread_mutex_unlock(&mix->lock);
	return error;
}

uint64_t xdb_mix_commits(struct xdb_mix *mix)
{
	return __atomic_load_n(&mix->commits, __ATOMIC_RELAXED);
}

uint64_t xdb_mix_copies(struct xdb_mix *mix)
{
	return __atomic_load_n(&mix->copies, __ATOMIC_RELAXED);
}
