/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One output's commits, of what several guests show on it. A layer's picture is ready (handed over by its scanout), then
 * flying (in the commit), then shown. The thread commits shortly before the vblank, so that all guests that keep the
 * pace get into each commit; at once if all who were on time lately are ready; and never later for one who was not.
 *
 * System calls of a commit, however many guests are in it: the last one's wakes the thread, the commit, the wait for the
 * next. The thread sets its alarm beforehand, so that no guest need wake it only for that.
 */
#define _GNU_SOURCE	/* sem_clockwait() */
#include "flip_mix.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Periods after which a guest that did not flip is not waited for. */
enum { ON_TIME = 3 };

/* ns by which an alarm may be off: the vblanks' time stamps are. */
enum { SLACK = 200000 };

/* No alarm. */
#define NEVER UINT64_MAX

struct layer {
	struct xdb_content ready, flying, shown;
	struct xdb_scanout *scanout;	/* who is told; NULL: nobody */
	unsigned part;
	uint64_t flipped;		/* when the last flip event came; 0: none did */
};

struct xdb_mix {
	pthread_mutex_t lock;
	/* For the thread. Not a condition, after which glibc unlocks a mutex by a system call. */
	sem_t work;
	pthread_cond_t idle;		/* for Python */
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
	uint64_t due;		/* until when what is ready waits for others; 0: nothing does */
	uint64_t foreseen;	/* `due` of what the guests are likely to do next */
	uint64_t alarm;		/* when the thread wakes up by itself */
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

static struct timespec as_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u),
	};
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

static bool is_on_time(const struct xdb_mix *mix, const struct layer *layer, uint64_t now)
{
	return layer->flipped && now < layer->flipped + ON_TIME * mix->pace.period;
}

static bool awaits_others(const struct xdb_mix *mix, uint64_t now)
{
	for (unsigned i = 0; i < mix->count; i++)
		if (!mix->layers[i].ready.picture && is_on_time(mix, &mix->layers[i], now))
			return true;
	return false;
}

/* Whether what may begin has waited long enough at `now`; otherwise it is due later. */
static bool is_due(struct xdb_mix *mix, uint64_t now)
{
	if (!mix->due)
		mix->due = xdb_pace_due(&mix->pace, now);
	return now + SLACK >= mix->due || !awaits_others(mix, now);
}

/* The thread sleeps, and is to do something before its alarm. */
static bool is_to_wake(struct xdb_mix *mix)
{
	return !mix->working && may_begin(mix) &&
	       (is_due(mix, clock_ns()) || mix->alarm > mix->due + SLACK);
}

/* After a commit: where guests wait for each other the next one is likely to wait as long. */
static uint64_t foresee(const struct xdb_mix *mix, uint64_t now)
{
	unsigned likely = 0;

	for (unsigned i = 0; i < mix->count; i++)
		likely += mix->layers[i].flying.picture || is_on_time(mix, &mix->layers[i], now);
	if (likely < 2)
		return 0;
	return xdb_pace_due(&mix->pace, now) + (mix->in_flight ? mix->pace.period : 0);
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
	uint64_t ended;
	int result = 0;

	mix->working = true;
	mix->due = 0;
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
	ended = clock_ns();
	xdb_pace_on_commit(&mix->pace, began, ended);
	mix->foreseen = foresee(mix, ended);
	pthread_cond_broadcast(&mix->idle);
}

/* With the lock, which it lets go of meanwhile: until the alarm, or somebody wakes it. */
static void rest(struct xdb_mix *mix)
{
	const uint64_t alarm = mix->alarm;
	const struct timespec deadline = as_timespec(alarm);

	pthread_mutex_unlock(&mix->lock);
	if (alarm == NEVER)
		sem_wait(&mix->work);
	else
		sem_clockwait(&mix->work, CLOCK_MONOTONIC, &deadline);
	pthread_mutex_lock(&mix->lock);
}

static void *serve(void *argument)
{
	struct xdb_mix *mix = argument;

	pthread_mutex_lock(&mix->lock);
	while (!mix->stop) {
		const uint64_t now = clock_ns();

		if (!may_begin(mix)) {
			mix->due = 0;
			mix->alarm = now < mix->foreseen ? mix->foreseen : NEVER;
		} else if (is_due(mix, now)) {
			commit(mix, now);
			continue;
		} else {
			mix->alarm = mix->due;
		}
		rest(mix);
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
		if (wake)
			sem_post(&mix->work);
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
		sem_post(&mix->work);
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
	sem_init(&mix->work, 0, 0);
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
		sem_post(&mix->work);
		pthread_mutex_unlock(&mix->lock);
		pthread_join(mix->thread, NULL);
	}
	sem_destroy(&mix->work);
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
	sem_post(&mix->work);
	pthread_mutex_unlock(&mix->lock);
}

int xdb_mix_wait(struct xdb_mix *mix, int milliseconds)
{
	const struct timespec deadline = as_timespec(clock_ns() + (uint64_t)milliseconds * 1000000u);
	int idle;

	pthread_mutex_lock(&mix->lock);
	while (mix->working || mix->in_flight)
		if (pthread_cond_timedwait(&mix->idle, &mix->lock, &deadline) != 0)
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
	sem_post(&mix->work);
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
