/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Conversions to XRGB8888, row by row; picture_convert.c includes this for each set of instructions, with
 * NAME(function) defined. They are written for gcc's vectoriser, which does best with 16 bits in and out: a
 * pixel is stored as two halves, green over blue and 255 over red. 5 bits are widened to 8 by repeating their
 * top bits: 33 / 4 of them, which is 264 / 32, which is the upper half of the product of 264 and the bits at
 * the top of a word.
 */

static void NAME(rgb565)(void *restrict to, const void *restrict from, size_t units)
{
	half *restrict d = to;
	const half *restrict s = from;

	for (size_t i = 0; i < units; i++) {
		uint16_t v = s[i];
		uint16_t r = upper(v & 0xf800, 264), b = upper((uint16_t)(v << 11), 264);
		/* 65 / 16 of 6 bits that stand 5 bits up. */
		uint16_t g = upper(v & 0x07e0, 65 << 7);

		d[2 * i] = (uint16_t)(g << 8) | b;
		d[2 * i + 1] = 0xff00 | r;
	}
}

static void NAME(xrgb1555)(void *restrict to, const void *restrict from, size_t units)
{
	half *restrict d = to;
	const half *restrict s = from;

	for (size_t i = 0; i < units; i++) {
		uint16_t v = s[i];
		uint16_t r = upper((uint16_t)(v << 1) & 0xf800, 264);
		uint16_t g = upper((uint16_t)(v << 6) & 0xf800, 264);
		uint16_t b = upper((uint16_t)(v << 11), 264);

		d[2 * i] = (uint16_t)(g << 8) | b;
		d[2 * i + 1] = 0xff00 | r;
	}
}

static void NAME(xrgb4444)(void *restrict to, const void *restrict from, size_t units)
{
	half *restrict d = to;
	const half *restrict s = from;

	for (size_t i = 0; i < units; i++) {
		uint16_t v = s[i];

		d[2 * i] = (uint16_t)((uint16_t)(v & 0xf0) << 4 | (v & 0x0f)) * 17;
		d[2 * i + 1] = 0xff00 | (uint16_t)((v >> 8 & 0x0f) * 17);
	}
}

static void NAME(rgb888)(void *restrict to, const void *restrict from, size_t units)
{
	uint32_t *restrict d = to;
	const uint8_t *restrict s = from;
	/* Two pixels at once, with the next one's first two bytes, which the last one does not have. */
	size_t pairs = units ? (units - 1) / 2 : 0;

	for (size_t i = NAME(rgb888_part)(d, s, units) / 2; i < pairs; i++) {
		uint64_t v = *(const two_words *)(s + 6 * i);

		*(two_words *)(d + 2 * i) = (v & 0xffffff) | (v << 8 & 0xffffff00000000) | OPAQUE << 32 | OPAQUE;
	}
	for (size_t i = 2 * pairs; i < units; i++)
		d[i] = OPAQUE | (uint32_t)s[3 * i + 2] << 16 | (uint32_t)s[3 * i + 1] << 8 | s[3 * i];
}

static inline void NAME(yuv)(half *restrict d, int y, int u, int v)
{
	y -= 16, u -= 128, v -= 128;
	d[0] = (uint16_t)(yuv_g(y, u, v) << 8 | yuv_b(y, u));
	d[1] = (uint16_t)(0xff00 | yuv_r(y, v));
}

static void NAME(yuyv)(void *restrict to, const void *restrict from, size_t units)
{
	half *restrict d = to;
	const uint8_t *restrict s = from;
	size_t pairs = units / 2;

	for (size_t i = NAME(yuyv_part)(to, s, units) / 2; i < pairs; i++) {
		NAME(yuv)(d + 4 * i, s[4 * i], s[4 * i + 1], s[4 * i + 3]);
		NAME(yuv)(d + 4 * i + 2, s[4 * i + 2], s[4 * i + 1], s[4 * i + 3]);
	}
	/* An odd width ends with Y and U; its V would lie outside of the row. */
	if (units & 1)
		NAME(yuv)(d + 2 * units - 2, s[4 * pairs], s[4 * pairs + 1], pairs ? s[4 * pairs - 1] : 128);
}
