/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files about pictures (memory_copy.c, memory_convert.c, memory_digest.c) share. */
#ifndef XDB_MEMORY_PICTURE_H
#define XDB_MEMORY_PICTURE_H

#include "memory.h"

/* `units` of one row from `from` to `to`, which do not overlap. Any alignment of `from`. */
typedef void xdb_row(void *restrict to, const void *restrict from, size_t units);

/* The row of a conversion, but not of XDB_COPY. */
xdb_row *xdb_conversion_row(int conversion);

/* Bytes that a unit of a conversion's source takes. */
size_t xdb_unit_bytes(int conversion);

/*
 * A digest under way: 64 bits over bytes and their order, for telling two pictures apart, not against forgery.
 * The same bytes give the same digest only if they are handed over in the same portions.
 */
struct xdb_digest_state {
	uint64_t lanes[8];
};

void xdb_digest_start(struct xdb_digest_state *state);

/* Copy `size` bytes, each loaded once, and digest what was stored. Any alignment. */
void xdb_digest_copy(struct xdb_digest_state *state, void *restrict to, const void *restrict from,
		     size_t size);

uint64_t xdb_digest_end(const struct xdb_digest_state *state);

#endif
