/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows on their way, with a digest of what came by. Words of 64 bits are mixed into lanes, each of which is
 * then turned: its halves are multiplied by one number each, and the products are added. Every SIMD unit can do
 * that, it maps hardly any two states to one, and it leaves no part of a pixel where a neighbour that changes,
 * too, could make up for it.
 */
#include "picture_ways.h"

#include <stdbool.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif
#ifdef __ARM_NEON
#include <arm_neon.h>
#endif

/* Prime, of 32 bits. */
#define LOW 0x9e3779b1u
#define HIGH 0x85ebca77u
/* The golden ratio, odd. */
#define GOLDEN 0x9e3779b97f4a7c15u

enum store {
	NOWHERE,
	STORED,
	STREAMED,	/* past the caches */
};

/* Emulated machines take a call for each vector instruction, but none for these. */
static inline uint64_t word_turned(uint64_t state, uint64_t word)
{
	state ^= word;
	return (state & 0xffffffffu) * LOW + (state >> 32) * HIGH;
}

#define VECTOR uint64_t
#define TURN word_turned
#define STREAM(to, word) memcpy(to, &(word), sizeof(word))
#define REGISTER "r"
#define NAME(function) word_##function
#include "picture_blocks.h"

#ifdef __SSE2__
static inline __m128i sse2_turned(__m128i state, __m128i word)
{
	state = _mm_xor_si128(state, word);
	return _mm_add_epi64(_mm_mul_epu32(state, _mm_set1_epi32((int)LOW)),
			     _mm_mul_epu32(_mm_srli_epi64(state, 32), _mm_set1_epi32((int)HIGH)));
}

#define VECTOR __m128i
#define TURN sse2_turned
#define STREAM(to, word) _mm_stream_si128((__m128i *)(to), word)
#define REGISTER "x"
#define NAME(function) sse2_##function
#include "picture_blocks.h"

#pragma GCC push_options
#pragma GCC target("avx2")
static inline __m256i avx2_turned(__m256i state, __m256i word)
{
	state = _mm256_xor_si256(state, word);
	return _mm256_add_epi64(_mm256_mul_epu32(state, _mm256_set1_epi32((int)LOW)),
				_mm256_mul_epu32(_mm256_srli_epi64(state, 32),
						 _mm256_set1_epi32((int)HIGH)));
}

#define VECTOR __m256i
#define TURN avx2_turned
#define STREAM(to, word) _mm256_stream_si256((__m256i *)(to), word)
#define REGISTER "x"
#define NAME(function) avx2_##function
#include "picture_blocks.h"
#pragma GCC pop_options

static int has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}
#endif

#ifdef __ARM_NEON
static inline uint64x2_t neon_turned(uint64x2_t state, uint64x2_t word)
{
	state = veorq_u64(state, word);
	return vmlal_u32(vmull_u32(vmovn_u64(state), vdup_n_u32(LOW)), vshrn_n_u64(state, 32),
			 vdup_n_u32(HIGH));
}

#define VECTOR uint64x2_t
#define TURN neon_turned
#define STREAM(to, word) memcpy(to, &(word), sizeof(word))
#define REGISTER "w"
#define NAME(function) neon_##function
#include "picture_blocks.h"
#endif

static void library_plain(uint64_t *lanes, uint8_t *restrict to, const uint8_t *restrict from,
			  size_t blocks)
{
	(void)lanes;
	memcpy(to, from, blocks * XDB_BLOCK);
}

/* The first is what the others are compared with. */
const struct xdb_way xdb_ways[] = {
	{ "memcpy", library_plain, NULL, NULL, NULL, 1, NULL },
	{ "words", word_plain, word_copy, word_digest, NULL, 1, NULL },
#ifdef __SSE2__
	{ "sse2", sse2_plain, sse2_copy, sse2_digest, NULL, 1, NULL },
	{ "sse2 stream", sse2_plain_stream, sse2_stream, sse2_digest, &xdb_ways[2], 16, NULL },
	{ "avx2", avx2_plain, avx2_copy, avx2_digest, NULL, 1, has_avx2 },
	{ "avx2 stream", avx2_plain_stream, avx2_stream, avx2_digest, &xdb_ways[4], 32, has_avx2 },
#endif
#ifdef __ARM_NEON
	{ "neon", neon_plain, neon_copy, neon_digest, NULL, 1, NULL },
#endif
};
const size_t xdb_way_count = sizeof(xdb_ways) / sizeof(xdb_ways[0]);

void xdb_digest_start(uint64_t lanes[XDB_LANES])
{
	for (size_t i = 0; i < XDB_LANES; i++)
		lanes[i] = (i + 1) * GOLDEN;
}

uint64_t xdb_digest_end(const uint64_t lanes[XDB_LANES])
{
	uint64_t digest = 0;

	for (size_t i = 0; i < XDB_LANES; i++) {
		digest = (digest ^ lanes[i]) * GOLDEN;
		/* A product's low bits know nothing of the factor's high ones: bring those down. */
		digest ^= digest >> 32;
	}
	return digest;
}

static void go(const struct xdb_way *way, uint64_t *lanes, uint8_t *restrict to,
	       const uint8_t *restrict from, size_t blocks)
{
	if (!to)
		way->digest(lanes, NULL, from, blocks);
	else if (lanes)
		way->copy(lanes, to, from, blocks);
	else
		way->plain(NULL, to, from, blocks);
}

void xdb_copy_row(const struct xdb_way *way, uint64_t *lanes, uint8_t *restrict to,
		  const uint8_t *restrict from, size_t size)
{
	const size_t blocks = size / XDB_BLOCK, end = size - XDB_BLOCK;
	uint8_t all[XDB_BLOCK] = { 0 };

	if (blocks) {
		go(way, lanes, to, from, blocks);
		/* What the guest changes between the two loads makes a digest that no picture has. */
		if (size % XDB_BLOCK)
			go(way->cached ? way->cached : way, lanes, to ? to + end : NULL, from + end, 1);
		return;
	}
	memcpy(all, from, size);
	if (lanes)
		go(way, lanes, NULL, all, 1);
	if (to)
		memcpy(to, all, size);
}
