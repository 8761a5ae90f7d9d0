# SPDX-License-Identifier: GPL-2.0-or-later
"""An output with one layer, which covers it: its flips go straight to the card."""

from __future__ import annotations

import trio

from xendisplback.host import Card, Plane, PreparedCommit
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.flips import CardFlips, Scanout
from xendisplback.scanout.frame import Crop
from xendisplback.scanout.pipe import Picture
from xendisplback.scanout.screen import Screen
from xendisplback.scanout.view import PlaneView, View


class WholeScreen:
    """The primary plane. Fulfils ``Stage``."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.card: Card = screen.pipe.card
        self.plane: Plane = screen.pipe.primary

    def copies(self, place: Rect) -> Rect:
        """All of it: most drivers want the primary plane to fill the screen. What is not the picture is black."""
        return self._screen.area

    def prepare(self, picture: Picture, *, alike: bool) -> PreparedCommit:
        return self._screen.pipe.prepare_flip(self.plane, picture, alike=alike)

    def show(self, picture: Picture, commit: PreparedCommit) -> None:
        self._screen.show(self.plane, picture)


class OneLayer:
    """Fulfils ``Arrangement``."""

    how = ""

    def __init__(self, screen: Screen, flips: CardFlips) -> None:
        self.screen = screen
        self._flips = flips

    def view(self, layer: str, crop: Crop, place: Rect) -> View:
        return PlaneView(WholeScreen(self.screen), crop, place)

    def tell(self, layer: str, scanout: Scanout, part: int) -> None:
        self._flips.tell(self.screen.pipe.crtc.id, scanout, part)

    def show_nothing(self) -> None:
        self.screen.show_background()

    def clear(self, layer: str) -> None:
        self._flips.tell(self.screen.pipe.crtc.id, None)
        if self.screen.lit:
            self.screen.show_background()

    async def failed(self) -> int:
        return await trio.sleep_forever()

    def close(self) -> None:
        self._flips.tell(self.screen.pipe.crtc.id, None)
