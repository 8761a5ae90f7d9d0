# SPDX-License-Identifier: GPL-2.0-or-later
"""Which CRTC and planes serve which connector: matchings, no I/O.

As many as possible are served, the more important ones first, and of all ways to serve those the cheapest is
taken: for CRTCs the one with the fewest changes. All is polynomial: a card with 32 of each takes milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from xendisplback.host import Connector, Crtc, Plane
from xendisplback.scanout.plane_format import XRGB8888

_NOTHING: Mapping[int, int] = MappingProxyType({})


def assign_crtcs(
    connectors: Sequence[Connector],
    crtcs: Sequence[Crtc],
    *,
    lit: Mapping[int, int] = _NOTHING,
    before: Mapping[int, int] = _NOTHING,
) -> dict[int, Crtc]:
    """A CRTC by connector id, for as many of ``connectors`` as can have one at the same time.

    Connected ones are served before others, earlier before later. ``lit`` (CRTC ids by connector id) stays as it
    is: what is on screen, by us or, for other connectors than these, by others. ``before`` (the same) is kept,
    except where that would leave one without.
    """
    by_id = {crtc.id: crtc for crtc in crtcs}
    free = [crtc for crtc in crtcs if crtc.id not in lit.values()]
    choices: dict[int, dict[int, int]] = {}
    for connector in sorted(connectors, key=lambda c: not c.connected):
        if connector.id not in lit:
            usable = [crtc for crtc in free if connector.possible_crtcs >> crtc.index & 1]
            kept = before.get(connector.id)
            choices[connector.id] = {crtc.id: int(crtc.id != kept) for crtc in usable}
    chosen = _match(choices)
    chosen.update((c.id, lit[c.id]) for c in connectors if lit.get(c.id) in by_id)
    return {connector: by_id[crtc] for connector, crtc in chosen.items()}


def primary_planes(crtcs: Sequence[Crtc], planes: Sequence[Plane]) -> dict[int, Plane]:
    """A primary plane by CRTC id, for as many CRTCs as can have one; rather those with the fewest other uses."""
    primaries = {plane.id: plane for plane in planes if plane.type == "Primary"}
    choices = {
        crtc.id: {
            plane.id: plane.possible_crtcs.bit_count()
            for plane in primaries.values()
            if plane.possible_crtcs >> crtc.index & 1
        }
        for crtc in crtcs
    }
    return {crtc: primaries[plane] for crtc, plane in _match(choices).items()}


def assign_planes(
    crtc: Crtc,
    crtcs: Sequence[Crtc],
    planes: Sequence[Plane],
    count: int,
    taken: AbstractSet[int],
) -> list[Plane]:
    """``crtc``'s primary plane, and up to ``count`` - 1 overlays in front of it, the lowest first.

    ``crtcs`` and ``planes`` are the whole card's, so that each CRTC's primary plane is always the same one.
    ``taken`` (plane ids) are other CRTCs' now. Empty where there is no primary plane for it.
    """
    primary = primary_planes(crtcs, planes).get(crtc.id)
    if primary is None or primary.id in taken:
        return []
    if count == 1:
        return [primary]
    overlays = [
        plane
        for plane in planes
        if plane.type == "Overlay"
        and plane.id not in taken
        and plane.possible_crtcs >> crtc.index & 1
        # What has another size or format than the plane takes is copied to it, as XRGB8888.
        and XRGB8888 in plane.formats
        and _height(plane, primary) > _height(primary, primary)
    ]
    # Those that other CRTCs could use as well are left to them.
    overlays.sort(key=lambda p: (p.possible_crtcs.bit_count(), _height(p, primary)))
    return [primary, *sorted(overlays[: count - 1], key=lambda p: _height(p, primary))]


def _height(plane: Plane, primary: Plane) -> tuple[int, bool, int]:
    """Planes by it are ordered from back to front; see drm_plane_create_zpos_property().

    Of planes at the same height, or without one, overlays are in front of the primary, and then higher ids.
    """
    at = primary.zpos if plane.zpos is None else plane.zpos
    return at or 0, plane is not primary, plane.id


def _match(choices: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
    """For keys of ``choices``, the earlier ones first, one each of the things it names, at the least cost in all.

    The Hungarian method: one key after the other is added in the cheapest way, by which those that are in already
    may get other things. None of them is dropped, and a key that finds no way now would not find one later.
    """
    chosen: dict[int, int] = {}
    for newcomer in choices:
        takers = _cheapest(choices, chosen, newcomer)
        held = set(chosen.values())
        thing = next((thing for thing in takers if thing not in held), None)
        while thing is not None:
            key = takers[thing]
            given_up = chosen.get(key)
            chosen[key] = thing
            thing = given_up
    return chosen


def _cheapest(
    choices: Mapping[int, Mapping[int, int]], chosen: Mapping[int, int], newcomer: int
) -> dict[int, int]:
    """By thing who takes it, on the cheapest way of things that change hands from ``newcomer`` on.

    In the order of what the ways cost. Costs of handing on may be negative, but not in a circle: ``chosen`` is
    the cheapest so far (Bellman and Ford).
    """
    holders = {thing: key for key, thing in chosen.items()}
    costs = {newcomer: 0}
    ways: dict[int, tuple[int, int]] = {}
    waiting = deque([newcomer])
    while waiting:
        key = waiting.popleft()
        for thing, own in choices[key].items():
            cost = costs[key] + own
            if thing in ways and ways[thing][0] <= cost:
                continue
            ways[thing] = cost, key
            holder = holders.get(thing)
            if holder is not None:
                costs[holder] = cost - choices[holder][thing]
                waiting.append(holder)
    return {thing: ways[thing][1] for thing in sorted(ways, key=lambda thing: ways[thing][0])}
