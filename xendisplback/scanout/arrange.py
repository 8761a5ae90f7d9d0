# SPDX-License-Identifier: GPL-2.0-or-later
"""Which arrangement an output gets."""

from __future__ import annotations

from xendisplback.scanout.arrangement import Arrangement
from xendisplback.scanout.composition import Composition
from xendisplback.scanout.flips import CardFlips
from xendisplback.scanout.layout import OutputLayout
from xendisplback.scanout.one_layer import OneLayer
from xendisplback.scanout.planes import OwnPlanes, planes_for
from xendisplback.scanout.screen import Screen


def arrange(screen: Screen, layout: OutputLayout, flips: CardFlips) -> Arrangement:
    """Blocking. With several layers the screen shows its background then. Raises HostError."""
    layers = layout.layers
    if len(layers) == 1 and layers[0].area in (None, screen.area):
        return OneLayer(screen, flips)
    screen.show_background()
    planes = planes_for(screen, layers)
    if planes is not None:
        return OwnPlanes(screen, layers, planes, flips)
    count = len(screen.pipe.planes)
    return Composition(screen, layers, flips, f"the card does not show them on {count} planes")
