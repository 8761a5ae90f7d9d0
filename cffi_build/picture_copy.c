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
 * Rows that are converted or scaled go in portions through a buffer in the first cache, where they are digested:
 * what is shown is what was digested, while the guest draws on. Portions are whole blocks, so that the digest is
 * that of the row. The last one is no shorter than the others, because a block cannot reach back into them, nor
 * a pixel of YUYV for its V.
 */
enum { PORTION = 16 * XDB_BLOCK, LONGEST = 2 * PORTION };

/* How many of the `left` units from `from` on are in `portion` now. */
static size_t take_portion(uint64_t *lanes, void *restrict portion, const uint8_t *restrict from, size_t left,
			   size_t unit)
{
	const struct xdb_way *way = xdb_digest_way->cached ? xdb_digest_way->cached : xdb_digest_way;
	const size_t now = left < LONGEST ? left : PORTION;

	xdb_copy_row(way, lanes, portion, from, now * unit);
	return now;
}

static void convert_row(const struct xdb_job *job, uint64_t *lanes, xdb_row *row,
			uint8_t *restrict d, const uint8_t *restrict s)
{
	const size_t unit = xdb_unit_bytes(job->conversion);
	uint8_t portion[LONGEST * 3] __attribute__((aligned(64)));

	for (size_t left = job->units, now; left; left -= now, s += now * unit, d += now * 4) {
		now = take_portion(lanes, portion, s, left, unit);
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

/*
 * Which of a source's columns or rows is nearest to the middle of each of a destination's: (2 i + 1) / 2 times
 * source / destination, with 48 bits of fraction. Rounded up, and by so little that for sizes of 16 bits the whole
 * part is exact.
 */
struct steps {
	uint64_t first, each;
};

static struct steps steps(uint64_t source, uint64_t destination)
{
	return (struct steps){
		((source << 47) + destination - 1) / destination,
		((source << 48) + destination - 1) / destination,
	};
}

static uint32_t nearest(struct steps steps, uint32_t i)
{
	return (uint32_t)((steps.first + i * steps.each) >> 48);
}

/* From column x on, those that are nearest to one of `pixels`, which start at column `start`; the next x. */
static uint32_t pick(uint32_t *restrict d, const uint32_t *restrict pixels, struct steps across, uint32_t x,
		     uint32_t width, size_t start, size_t count)
{
	uint64_t at = across.first + x * across.each;

	for (; x < width && (at >> 48) - start < count; x++, at += across.each)
		d[x] = pixels[(at >> 48) - start];
	return x;
}

/* One of the source's into `count` of the destination's from `y` on. */
static void scale_row(const struct xdb_job *job, uint64_t *lanes, const uint8_t *restrict s, uint32_t y,
		      uint32_t count)
{
	xdb_row *row = xdb_conversion_row(job->conversion);
	const size_t unit = row ? xdb_unit_bytes(job->conversion) : sizeof(uint32_t);
	const size_t width = row ? job->units : job->units / unit;
	const struct steps across = steps(width, job->scaled_width);
	uint32_t raw[LONGEST] __attribute__((aligned(64)));
	uint32_t converted[LONGEST] __attribute__((aligned(64)));
	uint32_t x = 0, next = 0;

	for (size_t start = 0, now; start < width; start += now, s += now * unit, x = next) {
		now = take_portion(lanes, raw, s, width - start, unit);
		if (row)
			row(converted, raw, now);
		for (uint32_t i = 0; i < count; i++)
			next = pick((uint32_t *)destination_row(job, y + i), row ? converted : raw, across, x,
				    job->scaled_width, start, now);
	}
}

static void scale_rows(const struct xdb_job *job, uint64_t *lanes)
{
	const struct steps down = steps(job->rows, job->scaled_rows);
	uint32_t next = 0;

	for (uint32_t y = 0; y < job->rows; y++) {
		const uint32_t first = next;

		while (next < job->scaled_rows && nearest(down, next) == y)
			next++;
		if (next > first)
			scale_row(job, lanes, source_row(job, y), first, next - first);
		else if (lanes)
			xdb_copy_row(xdb_digest_way, lanes, NULL, source_row(job, y),
				     job->units * xdb_unit_bytes(job->conversion));
	}
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
	work *work = job->scaled_rows ? scale_rows : job->conversion == XDB_COPY ? copy_rows : convert_rows;

	return run(job, work, digest);
}

int xdb_digest(const struct xdb_job *job, uint64_t *digest)
{
	return run(job, digest_rows, digest);
}
