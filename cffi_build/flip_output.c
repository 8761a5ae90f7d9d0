/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One CRTC: which picture is on its way to it, and who may touch it. Three threads meet here, and each has its turn:
 * the channel's begins a flip or a refresh, copies and commits; the card's ends it when the flip event comes; Python
 * pauses, waits, and then has the output to itself. At most one commit is on its way.
 */
#include "flip.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct xdb_output {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	int refresh_ms;
	struct xdb_channel *channel;
	const struct xdb_path **paths;
	unsigned count, room;
	enum { IDLE, FLIP, REFRESH } doing;	/* from the first copied byte to the flip event */
	bool in_flight;		/* committed, or just about to be */
	bool paused, stopped;
	int busy;		/* atomic: threads that are about to let go of a path or the channel, without the lock */
	const struct xdb_path *path;	/* on screen, or in flight to it */
	uint64_t fb_cookie;	/* of the flip that is done */
	unsigned side;		/* of the two copy buffers, the one that is not on screen */
	bool looked;		/* the guest did not flip for a while, and may not soon */
	bool digested;		/* `digest` is that of what was copied last */
	uint64_t digest;
	uint64_t serial, flips, copies;
	struct xdb_trace trace;
};

struct xdb_output *xdb_output_new(int refresh_ms)
{
	struct xdb_output *output = calloc(1, sizeof(*output));
	pthread_condattr_t monotonic;

	if (!output)
		return NULL;
	output->refresh_ms = refresh_ms;
	pthread_mutex_init(&output->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&output->idle, &monotonic);
	xdb_trace_init(&output->trace);
	pthread_condattr_destroy(&monotonic);
	return output;
}

void xdb_output_free(struct xdb_output *output)
{
	pthread_mutex_destroy(&output->lock);
	pthread_cond_destroy(&output->idle);
	xdb_trace_destroy(&output->trace);
	free(output->paths);
	free(output);
}

static struct timespec after(int milliseconds)
{
	struct timespec then;

	clock_gettime(CLOCK_MONOTONIC, &then);
	then.tv_sec += milliseconds / 1000;
	then.tv_nsec += milliseconds % 1000 * 1000000L;
	if (then.tv_nsec >= 1000000000L) {
		then.tv_sec++;
		then.tv_nsec -= 1000000000L;
	}
	return then;
}

/* Under the lock. */
static void set_idle(struct xdb_output *output)
{
	output->doing = IDLE;
	output->in_flight = false;
	pthread_cond_broadcast(&output->idle);
}

/* A thread that leaves does not take the lock: another one may just hold it, and would have to wake it. */
static void enter(struct xdb_output *output)
{
	__atomic_fetch_add(&output->busy, 1, __ATOMIC_ACQUIRE);
}

static void leave(struct xdb_output *output)
{
	__atomic_fetch_sub(&output->busy, 1, __ATOMIC_RELEASE);
}

static void wait_left(struct xdb_output *output)
{
	while (__atomic_load_n(&output->busy, __ATOMIC_ACQUIRE))
		usleep(200);
}

/* The channel's thread */

static const struct xdb_path *find(const struct xdb_output *output, uint64_t fb_cookie)
{
	for (unsigned i = 0; i < output->count; i++)
		if (output->paths[i]->fb_cookie == fb_cookie)
			return output->paths[i];
	return NULL;
}

/* Under the lock. A refresh of our own is no fault of the guest's: its flip waits for that frame. */
static void wait_for_refresh(struct xdb_output *output)
{
	struct timespec deadline;

	if (output->doing != REFRESH || output->paused)
		return;
	deadline = after(XDB_STUCK_MS);
	while (output->doing == REFRESH && !output->paused)
		if (pthread_cond_timedwait(&output->idle, &output->lock, &deadline) != 0)
			return;
}

const struct xdb_path *xdb_output_begin(struct xdb_output *output, uint64_t fb_cookie, int *handed)
{
	const struct xdb_path *path = NULL;

	*handed = XDB_REQUEST;
	pthread_mutex_lock(&output->lock);
	wait_for_refresh(output);
	if (!output->paused && output->doing == FLIP)
		*handed = XDB_BUSY;
	else if (!output->paused && output->doing == IDLE)
		path = find(output, fb_cookie);
	if (path) {
		output->doing = FLIP;
		output->fb_cookie = fb_cookie;
		enter(output);
	}
	pthread_mutex_unlock(&output->lock);
	return path;
}

/* Before the commit, because its flip event may come before the ioctl returns. False: Python stopped the output. */
static bool take_off(struct xdb_output *output, const struct xdb_path *path, uint64_t *serial)
{
	bool go;

	pthread_mutex_lock(&output->lock);
	go = !output->stopped;
	if (go) {
		output->path = path;
		output->in_flight = true;
		*serial = ++output->serial;
	}
	pthread_mutex_unlock(&output->lock);
	return go;
}

/* The card refused; unless Python has ended the flip meanwhile, nothing is on its way any more. */
static int refused(struct xdb_output *output, uint64_t serial, const struct xdb_path *before, int error)
{
	pthread_mutex_lock(&output->lock);
	if (output->stopped || (serial && !output->in_flight)) {
		error = 0;
	} else {
		output->path = before;
		set_idle(output);
	}
	pthread_mutex_unlock(&output->lock);
	return error;
}

int xdb_output_show(struct xdb_output *output, const struct xdb_path *path)
{
	/* Nobody else changes these before the flip event. */
	const struct xdb_path *before = output->path;
	unsigned side = output->side;
	uint64_t serial = 0;
	int error = 0;

	if (path->jobs[side]) {
		/* A digest costs as much as the copy where there is no vector unit: not for a guest that flips all the time. */
		output->digested = output->looked;
		output->looked = false;
		error = xdb_run(path->jobs[side], output->digested ? &output->digest : NULL);
		output->copies++;
	}
	if (!error && take_off(output, path, &serial)) {
		error = ((int (*)(void *))path->commit)((void *)path->arguments[side]);
		xdb_trace_stamp(&output->trace, XDB_COMMITTED);
	}
	if (error)
		error = refused(output, serial, before, error);
	leave(output);
	return error;
}

/* Where a guest draws without flipping: show it again if it has changed. 0, or a negative errno. */
int xdb_output_refresh(struct xdb_output *output)
{
	const struct xdb_path *path;
	uint64_t digest;
	bool changed;

	pthread_mutex_lock(&output->lock);
	path = output->path;
	if (output->paused || output->doing != IDLE || !path || !path->refresh || !output->refresh_ms)
		path = NULL;
	if (path) {
		output->doing = REFRESH;
		enter(output);
	}
	pthread_mutex_unlock(&output->lock);
	if (!path)
		return 0;
	output->looked = true;
	changed = !path->jobs[0] || !output->digested ||
		  xdb_digest(path->jobs[output->side], &digest) != 0 || digest != output->digest;
	if (changed)
		return xdb_output_show(output, path);
	pthread_mutex_lock(&output->lock);
	set_idle(output);
	pthread_mutex_unlock(&output->lock);
	leave(output);
	return 0;
}

int xdb_output_patience(struct xdb_output *output, uint64_t *in_flight)
{
	int milliseconds = -1;

	pthread_mutex_lock(&output->lock);
	*in_flight = output->in_flight ? output->serial : 0;
	if (output->refresh_ms && output->path && output->path->refresh)
		milliseconds = output->refresh_ms;
	else if (output->in_flight)
		milliseconds = XDB_STUCK_MS;
	pthread_mutex_unlock(&output->lock);
	return milliseconds;
}

/* The end of a flip */

/* Leaves without the lock: the guest may answer the event at once, and then its channel's thread wants it. */
static void complete_and_unlock(struct xdb_output *output)
{
	struct xdb_channel *channel = output->doing == FLIP ? output->channel : NULL;
	uint64_t fb_cookie = output->fb_cookie;

	if (output->in_flight && output->path && output->path->jobs[0])
		output->side ^= 1;
	if (channel)
		output->flips++;
	enter(output);
	set_idle(output);
	pthread_mutex_unlock(&output->lock);
	if (channel)
		xdb_channel_send_event(channel, fb_cookie);
	leave(output);
}

void xdb_output_on_flip_event(struct xdb_output *output, uint64_t vblank)
{
	pthread_mutex_lock(&output->lock);
	if (!output->in_flight) {
		pthread_mutex_unlock(&output->lock);
		return;
	}
	if (output->doing == FLIP)
		xdb_trace_end(&output->trace, vblank);
	complete_and_unlock(output);
}

/* Python */

void xdb_output_attach(struct xdb_output *output, struct xdb_channel *channel)
{
	pthread_mutex_lock(&output->lock);
	output->channel = channel;
	output->flips = output->copies = 0;
	pthread_mutex_unlock(&output->lock);
	wait_left(output);
}

void xdb_output_pause(struct xdb_output *output)
{
	pthread_mutex_lock(&output->lock);
	output->paused = true;
	pthread_cond_broadcast(&output->idle);
	pthread_mutex_unlock(&output->lock);
}

void xdb_output_resume(struct xdb_output *output)
{
	pthread_mutex_lock(&output->lock);
	output->paused = false;
	pthread_mutex_unlock(&output->lock);
}

int xdb_output_wait(struct xdb_output *output, int milliseconds)
{
	struct timespec deadline = after(milliseconds);
	int idle;

	pthread_mutex_lock(&output->lock);
	while (output->doing != IDLE)
		if (pthread_cond_timedwait(&output->idle, &output->lock, &deadline) != 0)
			break;
	idle = output->doing == IDLE;
	pthread_mutex_unlock(&output->lock);
	if (idle)
		wait_left(output);
	return idle;
}

void xdb_output_stop(struct xdb_output *output)
{
	pthread_mutex_lock(&output->lock);
	output->stopped = true;
	output->count = 0;
	output->path = NULL;
	pthread_mutex_unlock(&output->lock);
}

void xdb_output_abandon(struct xdb_output *output)
{
	pthread_mutex_lock(&output->lock);
	if (output->doing != IDLE && !output->in_flight) {
		/* It copies. Python frees the memory next. */
		pthread_mutex_unlock(&output->lock);
		wait_left(output);
		pthread_mutex_lock(&output->lock);
	}
	if (output->doing != IDLE)
		complete_and_unlock(output);
	else
		pthread_mutex_unlock(&output->lock);
	wait_left(output);
	pthread_mutex_lock(&output->lock);
	output->stopped = false;
	pthread_mutex_unlock(&output->lock);
}

int xdb_output_add(struct xdb_output *output, const struct xdb_path *path)
{
	xdb_output_remove(output, find(output, path->fb_cookie));
	if (output->count == output->room) {
		unsigned room = output->room ? 2 * output->room : 4;
		const struct xdb_path **paths = realloc(output->paths, room * sizeof(*paths));

		if (!paths)
			return -ENOMEM;
		output->paths = paths;
		output->room = room;
	}
	output->paths[output->count++] = path;
	return 0;
}

void xdb_output_remove(struct xdb_output *output, const struct xdb_path *path)
{
	for (unsigned i = 0; i < output->count; i++)
		if (output->paths[i] == path)
			output->paths[i--] = output->paths[--output->count];
	if (output->path == path)
		output->path = NULL;
}

void xdb_output_shown(struct xdb_output *output, const struct xdb_path *path, uint64_t digest)
{
	output->path = path;
	if (path->jobs[0]) {
		output->digest = digest;
		output->digested = true;
		output->side ^= 1;
	}
}

const struct xdb_path *xdb_output_path(const struct xdb_output *output)
{
	return output->path;
}

int xdb_output_side(const struct xdb_output *output)
{
	return (int)output->side;
}

uint64_t xdb_output_flips(const struct xdb_output *output)
{
	return output->flips;
}

uint64_t xdb_output_copies(const struct xdb_output *output)
{
	return output->copies;
}

struct xdb_trace *xdb_output_trace(struct xdb_output *output)
{
	return &output->trace;
}
