/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks of a picture on their way through registers; picture_digest.c includes this for each set of
 * instructions, with VECTOR (words of 64 bits), TURN(state, word) for each of its lanes, STREAM(to, word)
 * (a non-temporal store), REGISTER (asm's letter for a VECTOR) and NAME(function) defined.
 */

static inline __attribute__((always_inline)) void
NAME(walk)(uint64_t *lanes, uint8_t *restrict to, const uint8_t *restrict from, size_t blocks,
	   bool digest, enum store store)
{
	enum { COUNT = XDB_BLOCK / sizeof(VECTOR) };
	VECTOR state[COUNT], word;

	if (digest)
		memcpy(state, lanes, sizeof(state));
	for (; blocks; blocks--, from += XDB_BLOCK) {
#pragma GCC unroll 16
		for (size_t i = 0; i < COUNT; i++) {
			memcpy(&word, from + i * sizeof(word), sizeof(word));
			/* Stays in its register: loaded again, it could be what the guest wrote meanwhile. */
			__asm__("" : "+" REGISTER(word));
			if (digest)
				state[i] = TURN(state[i], word);
			if (store == STREAMED)
				STREAM(to + i * sizeof(word), word);
			else if (store == STORED)
				memcpy(to + i * sizeof(word), &word, sizeof(word));
		}
		if (store != NOWHERE)
			to += XDB_BLOCK;
	}
	if (digest)
		memcpy(lanes, state, sizeof(state));
}

static inline void NAME(digest)(uint64_t *lanes, uint8_t *restrict to,
				const uint8_t *restrict from, size_t blocks)
{
	NAME(walk)(lanes, to, from, blocks, true, NOWHERE);
}

static inline void NAME(copy)(uint64_t *lanes, uint8_t *restrict to, const uint8_t *restrict from,
			      size_t blocks)
{
	NAME(walk)(lanes, to, from, blocks, true, STORED);
}

static inline void NAME(plain)(uint64_t *lanes, uint8_t *restrict to, const uint8_t *restrict from,
			       size_t blocks)
{
	NAME(walk)(lanes, to, from, blocks, false, STORED);
}

static inline void NAME(stream)(uint64_t *lanes, uint8_t *restrict to,
				const uint8_t *restrict from, size_t blocks)
{
	NAME(walk)(lanes, to, from, blocks, true, STREAMED);
}

static inline void NAME(plain_stream)(uint64_t *lanes, uint8_t *restrict to,
				      const uint8_t *restrict from, size_t blocks)
{
	NAME(walk)(lanes, to, from, blocks, false, STREAMED);
}

#undef VECTOR
#undef TURN
#undef STREAM
#undef REGISTER
#undef NAME
