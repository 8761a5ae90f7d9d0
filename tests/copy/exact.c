/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every value of every pixel against the formulas, with each set of instructions. Built by test_exact.py. */
#include "picture_convert.c"

#include <stdio.h>
#include <string.h>

enum { ROW = 256 };

static unsigned widened(unsigned value, unsigned bits)
{
	value <<= 8 - bits;
	value |= value >> bits;
	return bits == 4 ? value : value & 255;
}

static uint32_t rgb(unsigned r, unsigned g, unsigned b)
{
	return 0xff000000u | r << 16 | g << 8 | b;
}

static uint32_t packed(int conversion, unsigned v)
{
	switch (conversion) {
	case XDB_RGB565:
		return rgb(widened(v >> 11, 5), widened(v >> 5 & 63, 6), widened(v & 31, 5));
	case XDB_XRGB4444:
		return rgb(widened(v >> 8 & 15, 4), widened(v >> 4 & 15, 4), widened(v & 15, 4));
	default:
		return rgb(widened(v >> 10 & 31, 5), widened(v >> 5 & 31, 5), widened(v & 31, 5));
	}
}

static unsigned limited(int v)
{
	return v < 0 ? 0 : v > 255 ? 255 : (unsigned)v;
}

static uint32_t yuv(int y, int u, int v)
{
	int c = 298 * (y - 16) + 128, d = u - 128, e = v - 128;

	return rgb(limited((c + 409 * e) >> 8), limited((c - 100 * d - 208 * e) >> 8),
		   limited((c + 516 * d) >> 8));
}

static int words(xdb_row *row, int conversion)
{
	uint16_t from[ROW];
	uint32_t to[ROW];

	for (unsigned v = 0; v < 65536; v++) {
		from[v % ROW] = (uint16_t)v;
		if (v % ROW < ROW - 1)
			continue;
		row(to, from, ROW);
		for (unsigned i = 0; i < ROW; i++)
			if (to[i] != packed(conversion, from[i]))
				return 1;
	}
	return 0;
}

static int yuyvs(xdb_row *row)
{
	uint8_t from[ROW * 2];
	uint32_t to[ROW];

	for (unsigned uv = 0; uv < 65536; uv++) {
		for (unsigned y = 0; y < ROW; y++) {
			from[2 * y] = (uint8_t)y;
			from[2 * y + 1] = (uint8_t)(y & 1 ? uv >> 8 : uv);
		}
		row(to, from, ROW);
		for (unsigned y = 0; y < ROW; y++)
			if (to[y] != yuv((int)y, uv & 255, uv >> 8))
				return 1;
	}
	return 0;
}

static int bytes(xdb_row *row)
{
	uint8_t from[ROW * 3];
	uint32_t to[ROW];

	for (unsigned i = 0; i < sizeof(from); i++)
		from[i] = (uint8_t)(i * 167 + (i >> 8) * 91);
	row(to, from, ROW);
	for (unsigned i = 0; i < ROW; i++)
		if (to[i] != rgb(from[3 * i + 2], from[3 * i + 1], from[3 * i]))
			return 1;
	return 0;
}

static int check(xdb_row *const *rows)
{
	return words(rows[XDB_RGB565], XDB_RGB565) || words(rows[XDB_XRGB4444], XDB_XRGB4444) ||
	       words(rows[XDB_XRGB1555], XDB_XRGB1555) || yuyvs(rows[XDB_YUYV]) ||
	       bytes(rows[XDB_RGB888]);
}

int main(void)
{
	xdb_row *base[] = ROWS(base), *best[XDB_YUYV + 1];

	for (int conversion = XDB_RGB565; conversion <= XDB_YUYV; conversion++)
		best[conversion] = xdb_conversion_row(conversion);
	if (check(base) || check(best))
		return 1;
	puts("done");
	return 0;
}
