# SPDX-License-Identifier: GPL-2.0-or-later
"""How the layers of a lit output share its planes.

One layer that covers it (one_layer.py): its flips go straight to the card. Several, or a smaller one: each has a
plane of its own where the card takes that (planes.py), or all are composed by copy (composition.py); what is ready
of them goes into one commit (mix.py).
"""

from __future__ import annotations

from typing import Protocol

from xendisplback.kms.geometry import Rect
from xendisplback.scanout.flips import Scanout
from xendisplback.scanout.frame import Crop
from xendisplback.scanout.screen import Screen
from xendisplback.scanout.view import View


class Arrangement(Protocol):
    """Construction, :meth:`clear` and :meth:`close`: blocking."""

    @property
    def screen(self) -> Screen: ...
    @property
    def how(self) -> str:
        """For the operator; "" where there is nothing to say."""
        ...

    def view(self, layer: str, crop: Crop, place: Rect) -> View:
        """One that shows nothing yet."""
        ...

    def tell(self, layer: str, scanout: Scanout, part: int) -> None:
        """Flip events of the layer are for that part of ``scanout`` from now on."""
        ...

    def show_nothing(self) -> None:
        """Light the output, if it is not lit, without any layer's picture. Raises HostError."""
        ...

    def clear(self, layer: str) -> None:
        """Take the layer's picture off the screen; nobody is told of its flips. Raises HostError."""
        ...

    async def failed(self) -> int:
        """Wait until a commit of several layers was refused; its errno."""
        ...

    def close(self) -> None:
        """The screen is dark. Raises HostError."""
        ...
