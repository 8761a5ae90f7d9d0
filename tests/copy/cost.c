/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A row converted: "base" or "best" instructions, and the conversion. test_cost.py counts what it takes. */
#include "memory_convert.c"

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

int main(int count, char **arguments)
{
	xdb_row *base[] = ROWS(base);
	int conversion = count == 3 ? atoi(arguments[2]) : 0;

	if (conversion < XDB_RGB565 || conversion > XDB_YUYV)
		return 1;
	measured(strcmp(arguments[1], "base") == 0 ? base[conversion] : xdb_conversion_row(conversion));
	return 0;
}
