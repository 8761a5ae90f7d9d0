/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every way of copying a row gives the same bytes and digest. Built with the sanitizers by test_ways.py. */
#include "picture_ways.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST = 5 * 128 + 127, SPARE = 64, ROOM = 1024 };

static uint64_t reference(const uint8_t *from, size_t size)
{
	uint64_t lanes[XDB_LANES], word;
	uint8_t padded[XDB_BLOCK] = { 0 };
	size_t at = 0;

	if (size < XDB_BLOCK)
		from = memcpy(padded, from, size);
	xdb_digest_start(lanes);
	do {
		/* The last block ends where the row ends. */
		size_t start = at + XDB_BLOCK <= size || !at ? at : size - XDB_BLOCK;

		for (size_t i = 0; i < XDB_LANES; i++) {
			memcpy(&word, from + start + i * sizeof(word), sizeof(word));
			word ^= lanes[i];
			lanes[i] = (word & 0xffffffff) * 0x9e3779b1u + (word >> 32) * 0x85ebca77u;
		}
		at += XDB_BLOCK;
	} while (at < size);
	return xdb_digest_end(lanes);
}

static int check(const struct xdb_way *way, const uint8_t *from, size_t size)
{
	uint8_t *memory = aligned_alloc(SPARE, ROOM), *to = memory + SPARE;
	uint64_t lanes[XDB_LANES], expected = reference(from, size);
	int wrong = 0;

	memset(memory, 0xa5, ROOM);
	xdb_copy_row(way, NULL, to, from, size);
	wrong |= memcmp(to, from, size) || to[-1] != 0xa5 || to[size] != 0xa5;
	if (way->copy) {
		memset(memory, 0xa5, ROOM);
		xdb_digest_start(lanes);
		xdb_copy_row(way, lanes, to, from, size);
		wrong |= memcmp(to, from, size) || to[-1] != 0xa5 || to[size] != 0xa5;
		wrong |= xdb_digest_end(lanes) != expected;
		xdb_digest_start(lanes);
		xdb_copy_row(way, lanes, NULL, from, size);
		wrong |= xdb_digest_end(lanes) != expected;
	}
	free(memory);
	return wrong;
}

int main(void)
{
	for (size_t i = 0; i < xdb_way_count; i++) {
		const struct xdb_way *way = &xdb_ways[i];

		if (way->supported && !way->supported())
			continue;
		for (size_t size = 1; size <= LONGEST; size++) {
			/* All of it is the row: what is read behind it is seen. */
			size_t offset = size % 17;
			uint8_t *memory = malloc(offset + size);

			for (size_t at = 0; at < offset + size; at++)
				memory[at] = (uint8_t)(at * 167 + (at >> 8) * 91 + size);
			if (check(way, memory + offset, size)) {
				printf("%s, %zu bytes\n", way->name, size);
				return 1;
			}
			free(memory);
		}
		puts(way->name);
	}
	return 0;
}
