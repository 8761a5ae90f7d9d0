/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests' pictures, copied into a card's buffers: the guest may write the ones meanwhile, and the others may vanish.
 * Addresses come as integers, so that Python calls need no casts.
 */
#ifndef XDB_PICTURE_H
#define XDB_PICTURE_H

#include <stddef.h>
#include <stdint.h>

/* picture_ways.h says more. */
enum xdb_conversion {
	XDB_COPY,	/* same layout; unit: bytes */
	XDB_RGB565,	/* to XRGB8888; unit: pixels, as all below */
	XDB_RGB888,
	XDB_XRGB4444,
	XDB_XRGB1555,
	XDB_YUYV,
};

struct xdb_job {
	uintptr_t source;
	uintptr_t destination;
	size_t source_pitch;
	size_t destination_pitch;
	size_t units;		/* per row */
	uint32_t rows;
	int conversion;		/* enum xdb_conversion */
	/*
	 * Not 0: the destination has this many pixels and rows, all sizes below 65536, and each of its pixels is the
	 * source's nearest to it. Of XDB_COPY's sources only XRGB8888 then.
	 */
	uint32_t scaled_width;
	uint32_t scaled_rows;
};

/*
 * Copy, convert or scale. *digest, if there is one, becomes a digest of exactly the bytes that were copied,
 * though the guest may write them meanwhile. It is that of the picture wherever it goes, so it has also the rows
 * that scaling leaves out. 0, or -EFAULT if the memory vanished (SIGBUS: a device was unplugged).
 */
int xdb_run(const struct xdb_job *job, uint64_t *digest);

/* The digest that xdb_run() would give now, without copying: equal digests, equal pictures. As xdb_run(). */
int xdb_digest(const struct xdb_job *job, uint64_t *digest);

/*
 * Measure the ways of copying on this machine and use the best from now on; 1: non-temporal. Some milliseconds;
 * no other thread may copy meanwhile. Digests do not depend on it.
 */
int xdb_choose_copy(void);

#endif
