/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Conversions to XRGB8888 for the instructions that this machine has. */
#include "picture_ways.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define OPAQUE 0xff000000ull

/* A guest's picture may start at an odd address: data_ofs and the pitch are its own choice. */
typedef uint16_t half __attribute__((aligned(1), may_alias));
typedef uint64_t two_words __attribute__((aligned(1), may_alias));

static inline uint16_t upper(uint16_t one, uint16_t other)
{
	return (uint32_t)one * other >> 16;
}

static inline int16_t clamp(int16_t v)
{
	v = v < 0 ? 0 : v;
	return v > 255 ? 255 : v;
}

/*
 * BT.601, limited range, which is what V4L2 and DRM mean by YUYV without further words:
 * R = (298 y + 409 v + 128) >> 8, G = (298 y - 100 u - 208 v + 128) >> 8, B = (298 y + 516 u + 128) >> 8.
 * Whole multiples of 256 are taken out, so that what is left to shift fits into 16 bits.
 */
static inline int16_t yuv_r(int16_t y, int16_t v)
{
	return clamp(y + v + ((int16_t)(42 * y + 153 * v + 128) >> 8));
}

static inline int16_t yuv_g(int16_t y, int16_t u, int16_t v)
{
	return clamp(y - v + ((int16_t)(42 * y - 100 * u + 48 * v + 128) >> 8));
}

static inline int16_t yuv_b(int16_t y, int16_t u)
{
	return clamp(y + 2 * u + ((int16_t)(42 * y + 4 * u + 128) >> 8));
}

/* The vectoriser does whole rows. */
static inline size_t none(void *d, const void *s, size_t units)
{
	(void)d, (void)s, (void)units;
	return 0;
}

#define base_rgb888_part none
#define base_yuyv_part none
#define NAME(function) base_##function
#include "picture_rows.h"
#undef NAME

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2")
#include "picture_rows_avx2.h"

#define NAME(function) avx2_##function
#include "picture_rows.h"
#undef NAME
#pragma GCC pop_options
#endif

#define ROWS(set) { NULL, set##_rgb565, set##_rgb888, set##_xrgb4444, set##_xrgb1555, set##_yuyv }

xdb_row *xdb_conversion_row(int conversion)
{
	static xdb_row *const base[] = ROWS(base);
#ifdef __x86_64__
	static xdb_row *const avx2[] = ROWS(avx2);

	if (__builtin_cpu_supports("avx2"))
		return avx2[conversion];
#endif
	return base[conversion];
}

size_t xdb_unit_bytes(int conversion)
{
	return conversion == XDB_COPY ? 1 : conversion == XDB_RGB888 ? 3 : 2;
}
