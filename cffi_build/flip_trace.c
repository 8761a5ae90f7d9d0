/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When each flip of an output came to each stage, for who wants to know where the time goes. */
#include "flip.h"

#include <time.h>

static uint64_t nanoseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void xdb_trace_init(struct xdb_trace *trace)
{
	pthread_mutex_init(&trace->lock, NULL);
}

void xdb_trace_destroy(struct xdb_trace *trace)
{
	pthread_mutex_destroy(&trace->lock);
}

void xdb_trace_start(struct xdb_trace *trace, struct xdb_flip_times *ring, uint32_t size)
{
	pthread_mutex_lock(&trace->lock);
	trace->size = size;
	trace->count = 0;
	__atomic_store_n(&trace->ring, ring, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&trace->lock);
}

uint64_t xdb_trace_stop(struct xdb_trace *trace)
{
	uint64_t count;

	pthread_mutex_lock(&trace->lock);
	__atomic_store_n(&trace->ring, NULL, __ATOMIC_RELAXED);
	count = trace->count;
	pthread_mutex_unlock(&trace->lock);
	return count;
}

void xdb_trace_stamp(struct xdb_trace *trace, enum xdb_stage stage)
{
	/* Without a trace no clock is read: where the TSC is not stable that is a system call. */
	if (__atomic_load_n(&trace->ring, __ATOMIC_RELAXED))
		trace->flip.at[stage] = nanoseconds();
}

void xdb_trace_end(struct xdb_trace *trace, uint64_t vblank)
{
	if (!__atomic_load_n(&trace->ring, __ATOMIC_RELAXED))
		return;
	trace->flip.at[XDB_VBLANK] = vblank;
	trace->flip.at[XDB_EVENT] = nanoseconds();
	pthread_mutex_lock(&trace->lock);
	if (trace->ring)
		trace->ring[trace->count++ % trace->size] = trace->flip;
	pthread_mutex_unlock(&trace->lock);
}
