/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How long a commit can wait for guests that are not ready yet: until shortly before the vblank that is foreseen. */
#include "flip_mix.h"

/* ns */
enum {
	MARGIN = 2000000,	/* for the thread to wake up, and the card to take a commit */
	LAST_MOMENT = 500000,	/* before a vblank a card takes no commit for it any more */
	NO_VBLANK = 1000000,	/* a flip event this soon is no vblank's, if it always is: virtio-gpu has none */
};

/* Flip events in a row after which the card is believed to have no vblanks. */
enum { ALWAYS = 4 };

static uint64_t least(uint64_t one, uint64_t other)
{
	return one < other ? one : other;
}

uint64_t xdb_pace_due(const struct xdb_pace *pace, uint64_t now)
{
	const uint64_t margin = least(MARGIN + 2 * pace->longest, pace->period / 2);
	const uint64_t last_moment = least(LAST_MOMENT + pace->longest, margin);
	uint64_t next = pace->vblank + pace->period;

	if (now >= next)
		next += (now - pace->vblank) / pace->period * pace->period;
	if (pace->at_once >= ALWAYS)
		return next;
	return next - margin + (now > next - last_moment ? pace->period : 0);
}

void xdb_pace_on_commit(struct xdb_pace *pace, uint64_t began, uint64_t ended)
{
	/* More would be no longer waited for, but longer remembered. */
	const uint64_t took = least(ended - began, pace->period);

	pace->longest -= pace->longest / 16;
	if (pace->longest < took)
		pace->longest = took;
}

void xdb_pace_on_flip_event(struct xdb_pace *pace, uint64_t vblank, uint64_t now)
{
	if (vblank >= pace->submitted + NO_VBLANK)
		pace->at_once = 0;
	else if (pace->at_once < ALWAYS)
		pace->at_once++;
	/* A driver's time stamp may be a bit ahead. */
	pace->vblank = least(vblank, now + pace->period);
}
