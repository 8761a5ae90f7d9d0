/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each conversion from an odd address, with an odd pitch, at its own size and scaled. Built with the sanitizers by
 * test_undefined.py.
 */
#include "picture_ways.h"

#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 333, ROWS = 3, LARGEST = 1000 };

static const struct {
	uint32_t width, rows;
} sizes[] = { { 0, 0 }, { WIDTH, 2 }, { LARGEST, 7 }, { 1, 1 }, { 334, ROWS }, { 100, ROWS } };

static int check(int conversion, uint32_t width, uint32_t rows)
{
	const size_t unit = conversion == XDB_COPY ? 4 : xdb_unit_bytes(conversion);
	const size_t pitch = WIDTH * unit + 1;
	/* They end where the picture ends: what is read or written behind it is seen. */
	uint8_t *source = calloc(1, ROWS * pitch);
	uint8_t *target = calloc(1, 4 * (width ? width : WIDTH) * (rows ? rows : ROWS));
	const struct xdb_job job = {
		.source = (uintptr_t)source + 1,
		.destination = (uintptr_t)target,
		.source_pitch = pitch,
		.destination_pitch = 4 * (width ? width : WIDTH),
		.units = conversion == XDB_COPY ? 4 * WIDTH : WIDTH,
		.rows = ROWS,
		.conversion = conversion,
		.scaled_width = width,
		.scaled_rows = rows,
	};
	uint64_t digest, now;
	int wrong = xdb_run(&job, NULL) || xdb_run(&job, &digest) || xdb_digest(&job, &now) || digest != now;

	free(source);
	free(target);
	return wrong;
}

int main(void)
{
	for (int conversion = XDB_COPY; conversion <= XDB_YUYV; conversion++)
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			if (check(conversion, sizes[i].width, sizes[i].rows))
				return 1;
	puts("done");
	return 0;
}
