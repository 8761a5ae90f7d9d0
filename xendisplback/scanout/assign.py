# SPDX-License-Identifier: GPL-2.0-or-later
"""Which CRTC and primary plane serve which connector: a bipartite matching, no I/O."""

from __future__ import annotations

from collections.abc import Sequence

from xendisplback.host import Connector, Crtc, Plane


def assign_crtcs(connectors: Sequence[Connector], crtcs: Sequence[Crtc]) -> dict[int, Crtc]:
    """A CRTC by connector id, for as many connectors as can have one at the same time.

    Connected ones are served first; a later one may move an earlier one to another CRTC it can use, but
    never leaves it without.
    """
    holder: dict[int, Connector] = {}

    def place(connector: Connector, tried: set[int]) -> bool:
        for crtc in crtcs:
            if not connector.possible_crtcs >> crtc.index & 1 or crtc.id in tried:
                continue
            tried.add(crtc.id)
            if crtc.id not in holder or place(holder[crtc.id], tried):
                holder[crtc.id] = connector
                return True
        return False

    for connector in sorted(connectors, key=lambda c: not c.connected):
        place(connector, set())
    return {holder[crtc.id].id: crtc for crtc in crtcs if crtc.id in holder}


def primary_planes(crtcs: Sequence[Crtc], planes: Sequence[Plane]) -> dict[int, Plane]:
    """A primary plane by CRTC id; no plane serves two CRTCs."""
    free = [plane for plane in planes if plane.type == "Primary"]
    chosen: dict[int, Plane] = {}
    for crtc in crtcs:
        usable = [plane for plane in free if plane.possible_crtcs >> crtc.index & 1]
        if usable:
            # The plane with the fewest other uses, so that a later CRTC finds one too.
            chosen[crtc.id] = min(usable, key=lambda plane: plane.possible_crtcs.bit_count())
            free.remove(chosen[crtc.id])
    return chosen
