/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copying pictures, row by row, with or without a conversion and a digest of what was copied. */
#include "memory_picture.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static void copy_row(void *restrict to, const void *restrict from, size_t units)
{
	memcpy(to, from, units);
}

#ifdef __SSE2__
/* Past the caches: a frame is larger than they are, and nobody on this CPU reads the copy. */
static void stream_row(void *restrict to, const void *restrict from, size_t units)
{
	uint8_t *d = to;
	const uint8_t *s = from;
	size_t head = -(uintptr_t)d & 15;

	if (head > units)
		head = units;
	memcpy(d, s, head);
	for (d += head, s += head, units -= head; units >= 64; d += 64, s += 64, units -= 64) {
		__m128i a = _mm_loadu_si128((const __m128i *)s);
		__m128i b = _mm_loadu_si128((const __m128i *)(s + 16));
		__m128i c = _mm_loadu_si128((const __m128i *)(s + 32));
		__m128i e = _mm_loadu_si128((const __m128i *)(s + 48));

		_mm_stream_si128((__m128i *)d, a);
		_mm_stream_si128((__m128i *)(d + 16), b);
		_mm_stream_si128((__m128i *)(d + 32), c);
		_mm_stream_si128((__m128i *)(d + 48), e);
	}
	memcpy(d, s, units);
}
#endif

static xdb_row *plain_copy = copy_row;

static void run_rows(const struct xdb_job *job, xdb_row *row)
{
	for (uint32_t y = 0; y < job->rows; y++)
		row((void *)(job->destination + y * job->destination_pitch),
		    (const void *)(job->source + y * job->source_pitch), job->units);
#ifdef __SSE2__
	/* Streamed stores are weakly ordered: the commit that follows must come after them. */
	_mm_sfence();
#endif
}

/*
 * Portions are digested on their way into a buffer in the first cache and go on from there: what is shown is
 * what was digested, while the guest draws on. The last portion takes one unit more rather than leave it
 * alone, because a pixel of YUYV needs its neighbour.
 */
static void digest_rows(const struct xdb_job *job, xdb_row *row, struct xdb_digest_state *state)
{
	enum { PORTION = 2048 };
	const size_t unit = xdb_unit_bytes(job->conversion);
	const size_t made = job->conversion == XDB_COPY ? 1 : 4;
	uint8_t portion[(PORTION + 1) * 3];

	for (uint32_t y = 0; y < job->rows; y++) {
		const uint8_t *s = (const uint8_t *)(job->source + y * job->source_pitch);
		uint8_t *d = (uint8_t *)(job->destination + y * job->destination_pitch);

		for (size_t left = job->units, now; left; left -= now, s += now * unit) {
			now = left > PORTION + 1 ? PORTION : left;
			xdb_digest_copy(state, portion, s, now * unit);
			if (row) {
				row(d, portion, now);
				d += now * made;
			}
		}
	}
#ifdef __SSE2__
	_mm_sfence();
#endif
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

/* Row is NULL: digest only. */
static int run(const struct xdb_job *job, xdb_row *row, uint64_t *digest)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigjmp_buf environment;
	struct xdb_digest_state state;

	pthread_once(&once, install);
	if (sigsetjmp(environment, 0)) {
		rescue = NULL;
		return -EFAULT;
	}
	rescue = &environment;
	if (digest) {
		xdb_digest_start(&state);
		digest_rows(job, row, &state);
		*digest = xdb_digest_end(&state);
	} else {
		run_rows(job, row);
	}
	rescue = NULL;
	return 0;
}

int xdb_run(const struct xdb_job *job, uint64_t *digest)
{
	return run(job, job->conversion == XDB_COPY ? plain_copy : xdb_conversion_row(job->conversion),
		   digest);
}

int xdb_digest(const struct xdb_job *job, uint64_t *digest)
{
	return run(job, NULL, digest);
}

#ifdef __SSE2__
static int64_t nanoseconds(const struct xdb_job *job, xdb_row *row)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	run_rows(job, row);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (end.tv_sec - start.tv_sec) * 1000000000LL + (end.tv_nsec - start.tv_nsec);
}
#endif

int xdb_choose_copy(void)
{
#ifdef __SSE2__
	/* 4 MiB each way: a frame of 1280x800, larger than the caches per core that it should not empty. */
	const size_t size = 4 << 20;
	uint8_t *memory = malloc(2 * size);
	int64_t best_copy = INT64_MAX, best_stream = INT64_MAX;

	if (!memory)
		return 0;
	memset(memory, 1, 2 * size);
	struct xdb_job job = { (uintptr_t)memory, (uintptr_t)(memory + size), 4096, 4096, 4096,
			       size / 4096, XDB_COPY };

	for (int i = 0; i < 3; i++) {
		int64_t copy = nanoseconds(&job, copy_row), stream = nanoseconds(&job, stream_row);

		best_copy = copy < best_copy ? copy : best_copy;
		best_stream = stream < best_stream ? stream : best_stream;
	}
	free(memory);
	plain_copy = best_stream < best_copy ? stream_row : copy_row;
	return plain_copy == stream_row;
#else
	return 0;
#endif
}
