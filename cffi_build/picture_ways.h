/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files about pictures (picture_copy.c, picture_digest.c, picture_convert.c) share. */
#ifndef XDB_PICTURE_WAYS_H
#define XDB_PICTURE_WAYS_H

#include "picture.h"

/*
 * Digests tell a picture from the one before, not a forgery from it: a guest can only hold back its own
 * pictures. A row is cut into blocks, the last one filled up with zeros, and the n-th word of 64 bits of each
 * block turns the n-th lane.
 */
#define XDB_LANES 16
#define XDB_BLOCK (XDB_LANES * sizeof(uint64_t))

/* Whole blocks. Any alignment of `from`; `to` as struct xdb_way says. `lanes` is NULL for no digest. */
typedef void xdb_blocks(uint64_t *lanes, uint8_t *restrict to, const uint8_t *restrict from,
			size_t blocks);

/* One way through this machine's instructions. They differ in time only. */
struct xdb_way {
	const char *name;
	xdb_blocks *plain;		/* a copy */
	xdb_blocks *copy;		/* with a digest; NULL: can't */
	xdb_blocks *digest;		/* `to` is ignored; NULL: can't */
	const struct xdb_way *cached;	/* not NULL: stores are non-temporal; for other destinations */
	size_t alignment;		/* of `to` */
	int (*supported)(void);		/* NULL: always */
};

extern const struct xdb_way xdb_ways[];
extern const size_t xdb_way_count;

/* What xdb_choose_copy() found to be best. */
extern const struct xdb_way *xdb_plain_way, *xdb_digest_way;

void xdb_digest_start(uint64_t lanes[XDB_LANES]);
uint64_t xdb_digest_end(const uint64_t lanes[XDB_LANES]);

/* A row of `size` bytes: copied unless `to` is NULL, digested unless `lanes` is, each byte loaded once. */
void xdb_copy_row(const struct xdb_way *way, uint64_t *lanes, uint8_t *restrict to,
		  const uint8_t *restrict from, size_t size);

/* `units` of one row from `from` to `to`, which do not overlap. Any alignment of `from`. */
typedef void xdb_row(void *restrict to, const void *restrict from, size_t units);

/* The row of a conversion; NULL of XDB_COPY. */
xdb_row *xdb_conversion_row(int conversion);

/* Bytes that a unit of a conversion's source takes. */
size_t xdb_unit_bytes(int conversion);

#endif
