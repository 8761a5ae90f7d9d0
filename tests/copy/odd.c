/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each conversion from an odd address, with an odd pitch. Built with the sanitizers by test_undefined.py. */
#include "picture.h"

#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 333, ROWS = 3, PITCH = WIDTH * 4 + 1, TARGET_PITCH = WIDTH * 4 };

int main(void)
{
	uint8_t *source = calloc(ROWS, PITCH), *target = calloc(ROWS, TARGET_PITCH);

	for (int conversion = XDB_COPY; conversion <= XDB_YUYV; conversion++) {
		struct xdb_job job = { (uintptr_t)source + 1, (uintptr_t)target, PITCH, TARGET_PITCH,
				       WIDTH, ROWS, conversion };

		uint64_t digest, now;

		if (xdb_run(&job, NULL) || xdb_run(&job, &digest) || xdb_digest(&job, &now))
			return 1;
		if (digest != now)
			return 2;
	}
	free(source);
	free(target);
	puts("done");
	return 0;
}
