/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Digests of pictures: has a guest drawn since the last copy? Each of eight lanes of 64 bits is turned by one
 * bijection per word, so that a single changed word always changes its lane; which word stands where counts.
 */
#include "memory_picture.h"

#include <string.h>

#define BLOCK sizeof(((struct xdb_digest_state *)0)->lanes)
#define ODD 0x9e3779b97f4a7c15u

static inline uint64_t turned(uint64_t lane, uint64_t word)
{
	lane = (lane ^ word) * ODD;
	/* A product's low bits know nothing of the factor's high ones: bring them down. */
	return lane << 29 | lane >> 35;
}

void xdb_digest_start(struct xdb_digest_state *state)
{
	for (size_t i = 0; i < 8; i++)
		state->lanes[i] = (i + 1) * ODD;
}

void xdb_digest_copy(struct xdb_digest_state *state, void *restrict to, const void *restrict from,
		     size_t size)
{
	struct xdb_digest_state now = *state;
	uint64_t block[8];
	uint8_t *d = to;
	const uint8_t *s = from;

	for (; size >= BLOCK; d += BLOCK, s += BLOCK, size -= BLOCK) {
		memcpy(block, s, BLOCK);
		/* One load per byte, though memory that isn't volatile may be read again: the guest writes it. */
		__asm__("" : "+m"(block));
		for (size_t i = 0; i < 8; i++)
			now.lanes[i] = turned(now.lanes[i], block[i]);
		memcpy(d, block, BLOCK);
	}
	if (size) {
		memset(block, 0, BLOCK);
		memcpy(block, s, size);
		__asm__("" : "+m"(block));
		for (size_t i = 0; i < 8; i++)
			now.lanes[i] = turned(now.lanes[i], block[i]);
		memcpy(d, block, size);
	}
	*state = now;
}

uint64_t xdb_digest_end(const struct xdb_digest_state *state)
{
	uint64_t digest = 0;

	for (size_t i = 0; i < 8; i++)
		digest = turned(digest, state->lanes[i]);
	return turned(digest, digest >> 32);
}
