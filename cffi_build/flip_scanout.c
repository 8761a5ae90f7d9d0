/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One guest's connector: which of its framebuffers is on its way to the screens, and who may touch it. Three threads
 * meet here, and each has its turn: the channel's begins a flip or a refresh, copies and commits; a card's ends it when
 * the flip event comes, the last one where it is shown on several outputs; Python pauses, waits, and then has it to
 * itself. At most one framebuffer is on its way.
 */
#include "flip.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct xdb_scanout {
	pthread_mutex_t lock;
	pthread_cond_t idle;
	int refresh_ms;
	struct xdb_channel *channel;
	const struct xdb_path **paths;
	unsigned count, room;
	enum { IDLE, FLIP, REFRESH } doing;	/* from the first copied byte to the flip event */
	unsigned awaited;	/* a bit for each part that is committed, or just about to be */
	unsigned refused;	/* the parts that the card refused last */
	bool paused, stopped;
	int busy;		/* atomic: threads that are about to let go of a path or the channel, without the lock */
	const struct xdb_path *path;	/* on screen, or in flight to it */
	uint64_t fb_cookie;	/* of the flip that is done */
	unsigned side;		/* of the two copy buffers, the one that is not on screen */
	bool looked;		/* the guest did not flip for a while, and may not soon */
	bool digested;		/* `digest` is that of what was copied last */
	uint64_t digest;
	uint64_t serial, flips, copies;	/* serial: of the commits */
	struct xdb_trace trace;
};

struct xdb_scanout *xdb_scanout_new(int refresh_ms)
{
	struct xdb_scanout *scanout = calloc(1, sizeof(*scanout));
	pthread_condattr_t monotonic;

	if (!scanout)
		return NULL;
	scanout->refresh_ms = refresh_ms;
	pthread_mutex_init(&scanout->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&scanout->idle, &monotonic);
	xdb_trace_init(&scanout->trace);
	pthread_condattr_destroy(&monotonic);
	return scanout;
}

void xdb_scanout_free(struct xdb_scanout *scanout)
{
	pthread_mutex_destroy(&scanout->lock);
	pthread_cond_destroy(&scanout->idle);
	xdb_trace_destroy(&scanout->trace);
	free(scanout->paths);
	free(scanout);
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
static void set_idle(struct xdb_scanout *scanout)
{
	scanout->doing = IDLE;
	scanout->awaited = 0;
	pthread_cond_broadcast(&scanout->idle);
}

/* A thread that leaves does not take the lock: another one may just hold it, and would have to wake it. */
static void enter(struct xdb_scanout *scanout)
{
	__atomic_fetch_add(&scanout->busy, 1, __ATOMIC_ACQUIRE);
}

static void leave(struct xdb_scanout *scanout)
{
	__atomic_fetch_sub(&scanout->busy, 1, __ATOMIC_RELEASE);
}

static void wait_left(struct xdb_scanout *scanout)
{
	while (__atomic_load_n(&scanout->busy, __ATOMIC_ACQUIRE))
		usleep(200);
}

/* The channel's thread */

static const struct xdb_path *find(const struct xdb_scanout *scanout, uint64_t fb_cookie)
{
	for (unsigned i = 0; i < scanout->count; i++)
		if (scanout->paths[i]->fb_cookie == fb_cookie)
			return scanout->paths[i];
	return NULL;
}

/* Under the lock. A refresh of our own is no fault of the guest's: its flip waits for that frame. */
static void wait_for_refresh(struct xdb_scanout *scanout)
{
	struct timespec deadline;

	if (scanout->doing != REFRESH || scanout->paused)
		return;
	deadline = after(XDB_STUCK_MS);
	while (scanout->doing == REFRESH && !scanout->paused)
		if (pthread_cond_timedwait(&scanout->idle, &scanout->lock, &deadline) != 0)
			return;
}

const struct xdb_path *xdb_scanout_begin(struct xdb_scanout *scanout, uint64_t fb_cookie, int *handed)
{
	const struct xdb_path *path = NULL;

	*handed = XDB_REQUEST;
	pthread_mutex_lock(&scanout->lock);
	wait_for_refresh(scanout);
	if (!scanout->paused && scanout->doing == FLIP)
		*handed = XDB_BUSY;
	else if (!scanout->paused && scanout->doing == IDLE)
		path = find(scanout, fb_cookie);
	if (path) {
		scanout->doing = FLIP;
		scanout->fb_cookie = fb_cookie;
		enter(scanout);
	}
	pthread_mutex_unlock(&scanout->lock);
	return path;
}

static bool copied(const struct xdb_path *path)
{
	for (unsigned part = 0; part < path->count; part++)
		if (path->parts[part].jobs[0])
			return true;
	return false;
}

/* A digest costs as much as the copy where there is no vector unit: not for a guest that flips all the time. */
static int copy(struct xdb_scanout *scanout, const struct xdb_path *path)
{
	uint64_t *digest = scanout->looked && path->look ? &scanout->digest : NULL;
	int error = 0;

	scanout->digested = digest != NULL;
	scanout->looked = false;
	for (unsigned part = 0; part < path->count && !error; part++) {
		const struct xdb_job *job = path->parts[part].jobs[scanout->side];

		if (!job)
			continue;
		error = xdb_run(job, digest);
		digest = NULL;
		scanout->copies++;
	}
	if (digest && !error)
		error = xdb_digest(path->look, digest);
	return error;
}

/* Before the commits, because a flip event may come before the ioctl returns. False: Python stopped the scanout. */
static bool take_off(struct xdb_scanout *scanout, const struct xdb_path *path)
{
	bool go;

	pthread_mutex_lock(&scanout->lock);
	go = !scanout->stopped;
	if (go) {
		scanout->path = path;
		scanout->awaited = (1u << path->count) - 1;
		scanout->refused = 0;
		scanout->serial++;
	}
	pthread_mutex_unlock(&scanout->lock);
	return go;
}

/*
 * `parts` were refused, and may be all: what else is on its way ends without an event, which is Python's to send now.
 * Unless Python has ended the flip meanwhile: then 0.
 */
static int refused(struct xdb_scanout *scanout, unsigned parts, const struct xdb_path *before, int error)
{
	pthread_mutex_lock(&scanout->lock);
	if (scanout->stopped || (parts && !scanout->awaited)) {
		error = 0;
	} else {
		scanout->refused = parts;
		scanout->awaited &= ~parts;
		scanout->doing = REFRESH;
		if (!parts || parts + 1 == 1u << scanout->path->count)
			scanout->path = before;
		else if (!scanout->awaited && copied(scanout->path))
			scanout->side ^= 1;
		if (!scanout->awaited)
			set_idle(scanout);
	}
	pthread_mutex_unlock(&scanout->lock);
	return error;
}

static int commit(const struct xdb_part *part, unsigned side)
{
	void *argument = (void *)part->arguments[side];

	return ((int (*)(void *const *, unsigned))part->commit)(&argument, 1);
}

int xdb_scanout_show(struct xdb_scanout *scanout, const struct xdb_path *path)
{
	/* Nobody else changes these before the flip event. */
	const struct xdb_path *before = scanout->path;
	unsigned side = scanout->side, failed = 0;
	int error = path->look ? copy(scanout, path) : 0;

	if (!error && take_off(scanout, path)) {
		for (unsigned part = 0; part < path->count; part++) {
			int result = commit(&path->parts[part], side);

			if (result) {
				error = result;
				failed |= 1u << part;
			}
		}
		xdb_trace_stamp(&scanout->trace, XDB_COMMITTED);
	}
	if (error)
		error = refused(scanout, failed, before, error);
	leave(scanout);
	return error;
}

/* Where a guest draws without flipping: show it again if it has changed. 0, or a negative errno. */
int xdb_scanout_refresh(struct xdb_scanout *scanout)
{
	const struct xdb_path *path;
	uint64_t digest;
	bool changed;

	pthread_mutex_lock(&scanout->lock);
	path = scanout->path;
	if (scanout->paused || scanout->doing != IDLE || !path || !path->refresh || !scanout->refresh_ms)
		path = NULL;
	if (path) {
		scanout->doing = REFRESH;
		enter(scanout);
	}
	pthread_mutex_unlock(&scanout->lock);
	if (!path)
		return 0;
	scanout->looked = true;
	changed = !path->look || !scanout->digested || xdb_digest(path->look, &digest) != 0 ||
		  digest != scanout->digest;
	if (changed)
		return xdb_scanout_show(scanout, path);
	pthread_mutex_lock(&scanout->lock);
	set_idle(scanout);
	pthread_mutex_unlock(&scanout->lock);
	leave(scanout);
	return 0;
}

int xdb_scanout_patience(struct xdb_scanout *scanout, uint64_t *in_flight)
{
	int milliseconds = -1;

	pthread_mutex_lock(&scanout->lock);
	*in_flight = scanout->awaited ? scanout->serial : 0;
	if (scanout->refresh_ms && scanout->path && scanout->path->refresh)
		milliseconds = scanout->refresh_ms;
	else if (scanout->awaited)
		milliseconds = XDB_STUCK_MS;
	pthread_mutex_unlock(&scanout->lock);
	return milliseconds;
}

/* The end of a flip */

/* `took_off`: pictures were committed. Leaves without the lock: the guest may answer the event at once, and then its channel's thread wants it. */
static void complete_and_unlock(struct xdb_scanout *scanout, bool took_off)
{
	struct xdb_channel *channel = scanout->doing == FLIP ? scanout->channel : NULL;
	uint64_t fb_cookie = scanout->fb_cookie;

	if (took_off && scanout->path && copied(scanout->path))
		scanout->side ^= 1;
	if (channel)
		scanout->flips++;
	enter(scanout);
	set_idle(scanout);
	pthread_mutex_unlock(&scanout->lock);
	if (channel)
		xdb_channel_send_event(channel, fb_cookie);
	leave(scanout);
}

void xdb_scanout_on_flip_event(struct xdb_scanout *scanout, unsigned part, uint64_t vblank)
{
	const unsigned bit = 1u << part;

	pthread_mutex_lock(&scanout->lock);
	if (scanout->awaited & bit && scanout->awaited != bit) {
		/* The other outputs still show the framebuffer before. */
		scanout->awaited &= ~bit;
		pthread_mutex_unlock(&scanout->lock);
	} else if (scanout->awaited & bit) {
		if (scanout->doing == FLIP)
			xdb_trace_end(&scanout->trace, vblank);
		complete_and_unlock(scanout, true);
	} else {
		pthread_mutex_unlock(&scanout->lock);
	}
}

/* Python */

void xdb_scanout_attach(struct xdb_scanout *scanout, struct xdb_channel *channel)
{
	pthread_mutex_lock(&scanout->lock);
	scanout->channel = channel;
	pthread_mutex_unlock(&scanout->lock);
	wait_left(scanout);
}

void xdb_scanout_pause(struct xdb_scanout *scanout)
{
	pthread_mutex_lock(&scanout->lock);
	scanout->paused = true;
	pthread_cond_broadcast(&scanout->idle);
	pthread_mutex_unlock(&scanout->lock);
}

void xdb_scanout_resume(struct xdb_scanout *scanout)
{
	pthread_mutex_lock(&scanout->lock);
	scanout->paused = false;
	pthread_mutex_unlock(&scanout->lock);
}

int xdb_scanout_wait(struct xdb_scanout *scanout, int milliseconds)
{
	struct timespec deadline = after(milliseconds);
	int idle;

	pthread_mutex_lock(&scanout->lock);
	while (scanout->doing != IDLE)
		if (pthread_cond_timedwait(&scanout->idle, &scanout->lock, &deadline) != 0)
			break;
	idle = scanout->doing == IDLE;
	pthread_mutex_unlock(&scanout->lock);
	if (idle)
		wait_left(scanout);
	return idle;
}

void xdb_scanout_stop(struct xdb_scanout *scanout)
{
	pthread_mutex_lock(&scanout->lock);
	scanout->stopped = true;
	scanout->count = 0;
	scanout->path = NULL;
	pthread_mutex_unlock(&scanout->lock);
}

void xdb_scanout_abandon(struct xdb_scanout *scanout)
{
	pthread_mutex_lock(&scanout->lock);
	if (scanout->doing != IDLE && !scanout->awaited) {
		/* It copies. Python frees the memory next. */
		pthread_mutex_unlock(&scanout->lock);
		wait_left(scanout);
		pthread_mutex_lock(&scanout->lock);
	}
	if (scanout->doing != IDLE)
		complete_and_unlock(scanout, scanout->awaited != 0);
	else
		pthread_mutex_unlock(&scanout->lock);
	wait_left(scanout);
	pthread_mutex_lock(&scanout->lock);
	scanout->stopped = false;
	pthread_mutex_unlock(&scanout->lock);
}

int xdb_scanout_add(struct xdb_scanout *scanout, const struct xdb_path *path)
{
	xdb_scanout_remove(scanout, find(scanout, path->fb_cookie));
	if (scanout->count == scanout->room) {
		unsigned room = scanout->room ? 2 * scanout->room : 4;
		const struct xdb_path **paths = realloc(scanout->paths, room * sizeof(*paths));

		if (!paths)
			return -ENOMEM;
		scanout->paths = paths;
		scanout->room = room;
	}
	scanout->paths[scanout->count++] = path;
	return 0;
}

void xdb_scanout_remove(struct xdb_scanout *scanout, const struct xdb_path *path)
{
	for (unsigned i = 0; i < scanout->count; i++)
		if (scanout->paths[i] == path)
			scanout->paths[i--] = scanout->paths[--scanout->count];
	if (scanout->path == path)
		scanout->path = NULL;
}

void xdb_scanout_shown(struct xdb_scanout *scanout, const struct xdb_path *path, uint64_t digest)
{
	scanout->path = path;
	if (path->look) {
		scanout->digest = digest;
		scanout->digested = true;
	}
	if (copied(path))
		scanout->side ^= 1;
}

unsigned xdb_scanout_refused(const struct xdb_scanout *scanout)
{
	return scanout->refused;
}

const struct xdb_path *xdb_scanout_path(const struct xdb_scanout *scanout)
{
	return scanout->path;
}

int xdb_scanout_side(const struct xdb_scanout *scanout)
{
	return (int)scanout->side;
}

unsigned xdb_scanout_awaited(struct xdb_scanout *scanout)
{
	unsigned awaited;

	pthread_mutex_lock(&scanout->lock);
	awaited = scanout->awaited;
	pthread_mutex_unlock(&scanout->lock);
	return awaited;
}

uint64_t xdb_scanout_flips(const struct xdb_scanout *scanout)
{
	return scanout->flips;
}

uint64_t xdb_scanout_copies(const struct xdb_scanout *scanout)
{
	return scanout->copies;
}

uint64_t xdb_scanout_pictures(const struct xdb_scanout *scanout)
{
	return scanout->serial;
}

struct xdb_trace *xdb_scanout_trace(struct xdb_scanout *scanout)
{
	return &scanout->trace;
}
