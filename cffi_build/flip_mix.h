/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One output (a CRTC) that several guests' connectors share, each as a layer. The scanouts hand their pictures to the
 * mix, which puts those that are ready into one commit: at most one is in flight on a CRTC, and its flip event ends
 * all that were in it. Each layer is on a plane of its own, or all are composed into one of two buffers.
 *
 *   flip_mix.c       when a commit is made, of what, and who is told
 *   flip_pace.c      how long it can wait for guests that are not ready
 *   flip_compose.c   what must be copied so that a buffer shows it
 */
#ifndef XDB_FLIP_MIX_H
#define XDB_FLIP_MIX_H

#include "flip.h"

/* How many layers an output can have. */
enum { XDB_LAYERS = 16 };

/* A part of the output, in its mode's pixels. */
struct xdb_place {
	int32_t x, y;
	int32_t width, height;
};

/* How one framebuffer of a guest gets into the mix. Stays as it is while a scanout's path or the mix has it. */
struct xdb_mix_picture {
	struct xdb_mix *mix;
	unsigned layer;			/* 0: the lowest */
	uintptr_t argument;		/* the card's prepared commit for this layer's plane; 0: it is composed */
	const struct xdb_job *jobs[2];	/* composed: copies into either buffer, */
	struct xdb_place place;		/* which these fill */
};

/*
 * NULL with errno. `submit`: the card's int (*)(void *const *arguments, unsigned count). `composed`: the prepared
 * commits that show either buffer; 0 where nothing is composed. `attention_fd`, an eventfd, becomes readable when a
 * commit is refused.
 */
struct xdb_mix *xdb_mix_new(uintptr_t submit, uintptr_t composed_0, uintptr_t composed_1, unsigned layers,
			    uint64_t period_ns, int attention_fd);

/* Start the thread. 0 or a negative errno. */
int xdb_mix_start(struct xdb_mix *mix);

/*
 * No card knows it any more, and no scanout shows anything by it: what is ready or in flight is forgotten. Blocking
 * while something is composed or committed.
 */
void xdb_mix_free(struct xdb_mix *mix);

/*
 * The commit function of scanouts' parts: each argument is a struct xdb_mix_picture, which is shown by one of the next
 * commits, also if it is on screen: then its content has changed. 0; once a commit was refused: its negative errno.
 */
int xdb_mix_submit(void *const *pictures, unsigned count);

/*
 * Who is told of a layer's flips from now on: one part of a scanout's; NULL: nobody. The former one is not told any
 * more when this returns.
 */
void xdb_mix_tell(struct xdb_mix *mix, unsigned layer, struct xdb_scanout *scanout, unsigned part);

/* No commit begins from now on, until each pause was resumed: what becomes ready waits. */
void xdb_mix_pause(struct xdb_mix *mix);
void xdb_mix_resume(struct xdb_mix *mix);

/* 1: paused, and nothing is on its way any more; 0: not within `milliseconds`. May block so long. */
int xdb_mix_wait(struct xdb_mix *mix, int milliseconds);

/*
 * While paused and idle: draw what is on screen, with `picture` (or NULL) in place of its layer's, into the buffer that
 * is not on screen: 0 or 1, for Python to show by a commit of its own; or a negative errno.
 */
int xdb_mix_compose(struct xdb_mix *mix, const struct xdb_mix_picture *picture);

/*
 * While paused and idle: a commit of Python's shows `picture` now, on its plane; or, if it is composed or NULL, shows
 * the buffer of the xdb_mix_compose() with the same picture that came just before.
 */
void xdb_mix_shown(struct xdb_mix *mix, const struct xdb_mix_picture *picture);

/*
 * Forget a layer's pictures, before their memory goes away. At any time; waits for a composition. What is on screen
 * stays until the next commit; a composition then draws over it what is below.
 */
void xdb_mix_remove(struct xdb_mix *mix, unsigned layer);

/* Why a commit was refused: a positive errno; 0: none was. None is made any more. */
int xdb_mix_error(struct xdb_mix *mix);

/* Commits that the thread made, and pictures that were copied, by it and for Python. */
uint64_t xdb_mix_commits(struct xdb_mix *mix);
uint64_t xdb_mix_copies(struct xdb_mix *mix);

/* Compositions (flip_compose.c) */

/* What a layer shows. Each change gives it another serial number, which is never 0. */
struct xdb_content {
	const struct xdb_mix_picture *picture;	/* NULL: nothing */
	uint64_t serial;
};

/* What of a layer is in a buffer. */
struct xdb_drawn {
	uint64_t serial;	/* 0: nothing */
	struct xdb_place place;
};

/*
 * Make the buffer `side`, which has `drawn`, show `contents`: copy what it lacks, lowest first, and what was under a
 * picture that is not there any more. Pictures on planes, and those that one other covers, are left out. How many
 * were copied, or a negative errno: then the buffer is of no use any more.
 */
int xdb_compose(const struct xdb_content *contents, struct xdb_drawn *drawn, unsigned layers, unsigned side);

/* When to commit (flip_pace.c). CLOCK_MONOTONIC, ns. */

struct xdb_pace {
	uint64_t period;
	uint64_t vblank;	/* the last one that is known */
	uint64_t submitted;	/* when the last commit was */
	uint64_t longest;	/* that a composition with its commit took lately */
	unsigned at_once;	/* flip events in a row that came too soon for a vblank */
};

/* Until when to wait for others: shortly before the next vblank, or the one after it if that is too near to be met. */
uint64_t xdb_pace_due(const struct xdb_pace *pace, uint64_t now);

void xdb_pace_on_commit(struct xdb_pace *pace, uint64_t began, uint64_t ended);
void xdb_pace_on_flip_event(struct xdb_pace *pace, uint64_t vblank, uint64_t now);

#endif
