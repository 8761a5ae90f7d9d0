/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conversions to XRGB8888, row by row: plain loops that gcc -O3 vectorises. Channels are widened by repeating
 * their top bits, so that full scale stays full scale.
 */
#include "memory_picture.h"

#define OPAQUE 0xff000000u

/* A guest's picture may start at an odd address: data_ofs and the pitch are its own choice. */
typedef uint16_t unaligned_u16 __attribute__((aligned(1), may_alias));

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

xdb_row *xdb_conversion_row(int conversion)
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
	default:
		return yuyv_row;
	}
}

size_t xdb_unit_bytes(int conversion)
{
	return conversion == XDB_COPY ? 1 : conversion == XDB_RGB888 ? 3 : 2;
}
