/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pictures from one memory to another, row by row, with or without a conversion and a digest. */
#include "picture_ways.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const uint8_t *source_row(const struct xdb_job *job, uint32_t y)
{
	return (const uint8_t *)(job->source + y * job->source_pitch);
}

static uint8_t *destination_row(const struct xdb_job *job, uint32_t y)
{
	return (uint8_t *)(job->destination + y * job->destination_pitch);
}

/* Rows without gaps are one row, unless the digest would differ from that of rows with gaps. */
static struct xdb_job joined(const struct xdb_job *job, uint64_t *lanes)
{
	struct xdb_job one = *job;

	if (job->source_pitch == job->units && job->destination_pitch == job->units &&
	    (!lanes || job->units % XDB_BLOCK == 0)) {
		one.units *= job->rows;
		one.rows = 1;
	}
	return one;
}

static void copy_rows(const struct xdb_job *job, uint64_t *lanes)
{
	const struct xdb_way *way = lanes ? xdb_digest_way : xdb_plain_way;
	const struct xdb_job now = joined(job, lanes);

	if ((job->destination | job->destination_pitch) % way->alignment)
		way = way->cached;
	for (uint32_t y = 0; y < now.rows; y++)
		xdb_copy_row(way, lanes, destination_row(&now, y), source_row(&now, y), now.units);
#ifdef __SSE2__
	/* Non-temporal stores are weakly ordered: the commit that follows must come after them. */
	_mm_sfence();
#endif
}

/*
 * In portions through a buffer in the first cache, where they are digested: what is shown is what was digested,
 * while the guest draws on. They are whole blocks, so that the digest is that of the row. The last one is no
 * shorter than the others, because a block cannot reach back into them, nor a pixel of YUYV for its V.
 */
static void convert_row(const struct xdb_job *job, uint64_t *lanes, xdb_row *row,
			uint8_t *restrict d, const uint8_t *restrict s)
{
	enum { PORTION = 16 * XDB_BLOCK };
	const struct xdb_way *way = xdb_digest_way->cached ? xdb_digest_way->cached : xdb_digest_way;
	const size_t unit = xdb_unit_bytes(job->conversion);
	uint8_t portion[2 * PORTION * 3] __attribute__((aligned(64)));

	for (size_t left = job->units, now; left; left -= now, s += now * unit, d += now * 4) {
		now = left < 2 * PORTION ? left : PORTION;
		xdb_copy_row(way, lanes, portion, s, now * unit);
		row(d, portion, now);
	}
}

static void convert_rows(const struct xdb_job *job, uint64_t *lanes)
{
	xdb_row *row = xdb_conversion_row(job->conversion);

	for (uint32_t y = 0; y < job->rows; y++)
		if (lanes)
			convert_row(job, lanes, row, destination_row(job, y), source_row(job, y));
		else
			row(destination_row(job, y), source_row(job, y), job->units);
}

static void digest_rows(const struct xdb_job *job, uint64_t *lanes)
{
	const size_t size = job->units * xdb_unit_bytes(job->conversion);

	for (uint32_t y = 0; y < job->rows; y++)
		xdb_copy_row(xdb_digest_way, lanes, NULL, source_row(job, y), size);
}

/*
 * A card that is unplugged takes its buffers' pages away; touching them raises SIGBUS. Inside xdb_run() that
 * ends the copy; anywhere else the signal does what it did before.
 */
static _Thread_local sigjmp_buf *rescue;
static struct sigaction before;

static void on_sigbus(int signal, siginfo_t *info, void *context)
{
	if (rescue)
		siglongjmp(*rescue, 1);
	if (before.sa_flags & SA_SIGINFO)
		before.sa_sigaction(signal, info, context);
	else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
		before.sa_handler(signal);
	else
		sigaction(SIGBUS, &before, NULL);	/* the instruction is repeated and the process ends */
}

static void install(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_sigbus;
	/* NODEFER: the handler is left by a jump, which would leave the signal blocked. */
	action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
	sigaction(SIGBUS, &action, &before);
}

typedef void work(const struct xdb_job *job, uint64_t *lanes);

static int run(const struct xdb_job *job, work *work, uint64_t *digest)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigjmp_buf environment;
	uint64_t lanes[XDB_LANES];

	pthread_once(&once, install);
	if (sigsetjmp(environment, 0)) {
		rescue = NULL;
		return -EFAULT;
	}
	rescue = &environment;
	if (digest)
		xdb_digest_start(lanes);
	work(job, digest ? lanes : NULL);
	if (digest)
		*digest = xdb_digest_end(lanes);
	rescue = NULL;
	return 0;
}

int xdb_run(const struct xdb_job *job, uint64_t *digest)
{
	return run(job, job->conversion == XDB_COPY ? copy_rows : convert_rows, digest);
}

int xdb_digest(const struct xdb_job *job, uint64_t *digest)
{
	return run(job, digest_rows, digest);
}
