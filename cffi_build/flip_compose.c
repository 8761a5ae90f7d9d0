/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which layers are copied into a buffer, so that it shows them all. All are opaque, and a buffer keeps what was drawn
 * into it two commits ago: usually only what has changed since is copied. Sets of layers are bits.
 */
#include "flip_mix.h"

static bool covers(const struct xdb_place *place, const struct xdb_place *other)
{
	return place->x <= other->x && place->y <= other->y &&
	       other->x + other->width <= place->x + place->width &&
	       other->y + other->height <= place->y + place->height;
}

static bool overlap(const struct xdb_place *one, const struct xdb_place *other)
{
	return one->x < other->x + other->width && other->x < one->x + one->width &&
	       one->y < other->y + other->height && other->y < one->y + one->height;
}

static bool is_composed(const struct xdb_content *content)
{
	return content->picture && !content->picture->argument;
}

/* Those that are composed, and not covered by one above. */
static unsigned visible(const struct xdb_content *contents, unsigned layers)
{
	unsigned set = 0;

	for (unsigned layer = layers; layer--;) {
		bool covered = false;

		if (!is_composed(&contents[layer]))
			continue;
		for (unsigned above = layer + 1; above < layers && !covered; above++)
			covered = set & 1u << above && covers(&contents[above].picture->place,
							      &contents[layer].picture->place);
		if (!covered)
			set |= 1u << layer;
	}
	return set;
}

/* Those of `set` that have something in `place`. */
static unsigned within(const struct xdb_place *place, const struct xdb_content *contents, unsigned layers,
		       unsigned set)
{
	unsigned found = 0;

	for (unsigned layer = 0; layer < layers; layer++)
		if (set & 1u << layer && overlap(place, &contents[layer].picture->place))
			found |= 1u << layer;
	return found;
}

/* Those of `set` that the buffer lacks, or that lie where one was that has gone or become smaller. */
static unsigned lacking(const struct xdb_content *contents, const struct xdb_drawn *drawn, unsigned layers,
			unsigned set)
{
	unsigned found = 0;

	for (unsigned layer = 0; layer < layers; layer++) {
		const bool there = set & 1u << layer;

		if (there && drawn[layer].serial != contents[layer].serial)
			found |= 1u << layer;
		if (drawn[layer].serial &&
		    !(there && covers(&contents[layer].picture->place, &drawn[layer].place)))
			found |= within(&drawn[layer].place, contents, layers, set);
	}
	return found;
}

int xdb_compose(const struct xdb_content *contents, struct xdb_drawn *drawn, unsigned layers, unsigned side)
{
	const unsigned set = visible(contents, layers);
	unsigned to_draw = lacking(contents, drawn, layers, set);
	int copies = 0;

	for (unsigned layer = 0; layer < layers; layer++) {
		const struct xdb_mix_picture *picture = contents[layer].picture;
		int error;

		if (!(set & 1u << layer)) {
			drawn[layer].serial = 0;
			continue;
		}
		if (!(to_draw & 1u << layer))
			continue;
		error = xdb_run(picture->jobs[side], NULL);
		if (error)
			return error;
		copies++;
		/* Also over those above it, which are drawn after it. */
		to_draw |= within(&picture->place, contents, layers, set) & ~((2u << layer) - 1);
		drawn[layer].serial = contents[layer].serial;
		drawn[layer].place = picture->place;
	}
	return copies;
}
