/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying and converting pictures, row by row. The conversions are plain loops that gcc -O3 vectorises;
 * channels are widened by repeating their top bits, so that full scale stays full scale.
 */
#include "memory.h"

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

#define OPAQUE 0xff000000u

/* A guest's picture may start at an odd address: data_ofs and the pitch are its own choice. */
typedef uint16_t unaligned_u16 __attribute__((aligned(1), may_alias));

typedef void row_function(void *restrict to, const void *restrict from, size_t units);

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

static row_function *plain_copy = copy_row;

static void rgb565_row(void *restrict to, const void *restrict from, size_t units)
{
	uint32_t *restrict d = to;
	const unaligned_u16 *restrict s = from;

	for (size_t i = 0; i < units; i++) {
		uint32_t v = s[i], r = v >> 11, g = v >> 5 & 63, b = v & 31;

		d[i] = OPAQUE | (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
	}
}

static void rgb888_row(void *restrict to, const void *restrict from, size_t units)
{
	uint32_t *restrict d = to;
	const uint8_t *restrict s = from;

	for (size_t i = 0; i < units; i++)
		d[i] = OPAQUE | (uint32_t)s[3 * i + 2] << 16 | (uint32_t)s[3 * i + 1] << 8 | s[3 * i];
}

static void xrgb4444_row(void *restrict to, const void *restrict from, size_t units)
{
	uint32_t *restrict d = to;
	const unaligned_u16 *restrict s = from;

	for (size_t i = 0; i < units; i++) {
		uint32_t v = s[i];

		d[i] = OPAQUE | (v >> 8 & 15) * 17 << 16 | (v >> 4 & 15) * 17 << 8 | (v & 15) * 17;
	}
}

static void xrgb1555_row(void *restrict to, const void *restrict from, size_t units)
{
	uint32_t *restrict d = to;
	const unaligned_u16 *restrict s = from;

	for (size_t i = 0; i < units; i++) {
		uint32_t v = s[i], r = v >> 10 & 31, g = v >> 5 & 31, b = v & 31;

		d[i] = OPAQUE | (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
	}
}

static inline uint32_t clamp(int32_t v)
{
	return v < 0 ? 0 : v > 255 ? 255 : (uint32_t)v;
}

/* BT.601, limited range, which is what V4L2 and DRM mean by YUYV without further words. */
static inline uint32_t yuv(int32_t y, int32_t u, int32_t v)
{
	int32_t c = 298 * (y - 16) + 128, d = u - 128, e = v - 128;

	return OPAQUE | clamp((c + 409 * e) >> 8) << 16 |
	       clamp((c - 100 * d - 208 * e) >> 8) << 8 | clamp((c + 516 * d) >> 8);
}

static void yuyv_row(void *restrict to, const void *restrict from, size_t units)
{
	uint32_t *restrict d = to;
	const uint8_t *restrict s = from;
	size_t pairs = units / 2;

	for (size_t i = 0; i < pairs; i++) {
		d[2 * i] = yuv(s[4 * i], s[4 * i + 1], s[4 * i + 3]);
		d[2 * i + 1] = yuv(s[4 * i + 2], s[4 * i + 1], s[4 * i + 3]);
	}
	/* An odd width ends with Y and U; its V would lie outside of the row. */
	if (units & 1)
		d[units - 1] = yuv(s[4 * pairs], s[4 * pairs + 1], pairs ? s[4 * pairs - 1] : 128);
}

static row_function *row_of(int conversion)
{
	switch (conversion) {
	case XDB_RGB565:
		return rgb565_row;
	case XDB_RGB888:
		return rgb888_row;
	case XDB_XRGB4444:
		return xrgb4444_row;
	case XDB_XRGB1555:
		return xrgb1555_row;
	case XDB_YUYV:
		return yuyv_row;
	default:
		return plain_copy;
	}
}

static void run_rows(const struct xdb_job *job, row_function *row)
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

int xdb_run(const struct xdb_job *job)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigjmp_buf environment;

	pthread_once(&once, install);
	if (sigsetjmp(environment, 0)) {
		rescue = NULL;
		return -EFAULT;
	}
	rescue = &environment;
	run_rows(job, row_of(job->conversion));
	rescue = NULL;
	return 0;
}

#ifdef __SSE2__
static int64_t nanoseconds(const struct xdb_job *job, row_function *row)
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
