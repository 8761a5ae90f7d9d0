/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which way through this machine is best for pictures, by measurement at start. Each way is compared with
 * memcpy twice: with source and destination in no cache, and with both there. Nobody knows which case a guest's
 * next picture is: the best way is the fastest on the whole of those that are not slower in either case. So
 * non-temporal stores, which gain much in the first case, are not taken where caches are large enough for what
 * they lose in the second.
 */
#include "picture_ways.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
	SIZE = 128 << 10,	/* twice that is in any machine's second cache; all take 2 ms */
	GAP = 5 << 12,		/* neither the same set of a cache nor the same slot of a TLB */
	ROUNDS = 5,		/* the best counts: whatever interferes only makes slower */
};

struct trial {
	const struct xdb_way *way;
	bool digest;
	double cold, warm;	/* ns, the best yet */
};

const struct xdb_way *xdb_plain_way = &xdb_ways[0], *xdb_digest_way = &xdb_ways[1];

static void evict(const uint8_t *memory, size_t size)
{
#ifdef __SSE2__
	for (size_t i = 0; i < size; i += 64)
		_mm_clflush(memory + i);
	_mm_mfence();
#else
	/* Elsewhere there are no non-temporal ways to judge. */
	(void)memory, (void)size;
#endif
}

static double nanoseconds(const struct trial *trial, uint8_t *memory)
{
	struct timespec start, end;
	uint64_t lanes[XDB_LANES] = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &start);
	xdb_copy_row(trial->way, trial->digest ? lanes : NULL, memory + SIZE + GAP, memory, SIZE);
#ifdef __SSE2__
	_mm_sfence();
#endif
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec);
}

static double least(double one, double other)
{
	return one < other ? one : other;
}

static void measure(struct trial *trial, uint8_t *memory)
{
	evict(memory, 2 * SIZE + GAP);
	trial->cold = least(trial->cold, nanoseconds(trial, memory));
	/* The first brings into the caches what this way does not keep out of them. */
	nanoseconds(trial, memory);
	trial->warm = least(trial->warm, nanoseconds(trial, memory));
}

/* As fast as the reference in both cases: 2. */
static double score(const struct trial *trial, const struct trial *reference)
{
	double cold = reference->cold / trial->cold, warm = reference->warm / trial->warm;
	double worse = least(cold, warm);

	return worse < 0.9 ? worse : cold + warm;
}

/* Of those with a digest or of those without. A later one has to be better by more than noise. */
static const struct xdb_way *best(const struct trial *trials, size_t count, bool digest)
{
	const struct trial *yet = NULL;

	for (const struct trial *one = trials; one < trials + count; one++)
		if (one->digest == digest &&
		    (!yet || score(one, trials) > 1.05 * score(yet, trials)))
			yet = one;
	return yet->way;
}

/* All trials; how many. `trials` has room for two for each way. */
static size_t set_up(struct trial *trials)
{
	size_t count = 0;

	for (size_t i = 0; i < xdb_way_count; i++) {
		const struct xdb_way *way = &xdb_ways[i];

		if (way->supported && !way->supported())
			continue;
		trials[count++] = (struct trial){ way, false, 1e18, 1e18 };
		if (way->copy)
			trials[count++] = (struct trial){ way, true, 1e18, 1e18 };
	}
	return count;
}

int xdb_choose_copy(void)
{
	uint8_t *memory = aligned_alloc(4096, 2 * SIZE + GAP);
	struct trial *trials = malloc(2 * xdb_way_count * sizeof(*trials));
	size_t count;

	if (memory && trials) {
		memset(memory, 1, 2 * SIZE + GAP);
		count = set_up(trials);
		for (int round = 0; round < ROUNDS; round++)
			for (size_t i = 0; i < count; i++)
				measure(&trials[i], memory);
		xdb_plain_way = best(trials, count, false);
		xdb_digest_way = best(trials, count, true);
	}
	free(trials);
	free(memory);
	return xdb_plain_way->cached != NULL;
}
