/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows converted, or copied with a digest: by "base" or "best" instructions, and the conversion. test_cost.py
 * counts what it takes.
 */
#include "picture_convert.c"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { WIDTH = 1920, COUNT = 16 };

static uint8_t source[WIDTH * 4];
static uint32_t destination[WIDTH];

__attribute__((noinline)) void measured(xdb_row *row)
{
	for (int i = 0; i < COUNT; i++) {
		row(destination, source, WIDTH);
		__asm__("" : : : "memory");
	}
}

/* The last of those that store into the caches; the first of those with vectors. */
static const struct xdb_way *way(bool base)
{
	const struct xdb_way *found = &xdb_ways[2];

	for (size_t i = 3; i < xdb_way_count && !base; i++)
		if (!xdb_ways[i].cached && xdb_ways[i].supported())
			found = &xdb_ways[i];
	return found;
}

static const struct xdb_way *copied_by;

static void copy(void *restrict to, const void *restrict from, size_t units)
{
	uint64_t lanes[XDB_LANES] = { 0 };

	xdb_copy_row(copied_by, lanes, to, from, 4 * units);
}

int main(int count, char **arguments)
{
	xdb_row *base[] = ROWS(base);
	int conversion = count == 3 ? atoi(arguments[2]) : -1;
	bool least = count == 3 && strcmp(arguments[1], "base") == 0;

	if (conversion < XDB_COPY || conversion > XDB_YUYV)
		return 1;
	copied_by = way(least);
	measured(conversion == XDB_COPY ? copy : least ? base[conversion] : xdb_conversion_row(conversion));
	return 0;
}
