# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the pictures of one connector get on a lit output: a plane of their own, or one that others share."""

from __future__ import annotations

from typing import Protocol

from xendisplback.host import Card, Plane, PreparedCommit
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.pipe import Picture


class Stage(Protocol):
    """:meth:`show`: blocking."""

    @property
    def card(self) -> Card: ...
    @property
    def plane(self) -> Plane: ...
    def copies(self, place: Rect) -> Rect:
        """The part of the screen that the buffers of copies fill, for a picture at ``place``."""
        ...

    def prepare(self, picture: Picture, *, alike: bool) -> PreparedCommit:
        """What shows ``picture``, submitted by C. Raises HostError.

        ``alike``: every picture that the connector shows here has this one's size and area.
        """
        ...

    def show(self, picture: Picture, commit: PreparedCommit) -> None:
        """Now; ``commit`` is what :meth:`prepare` made for it. Raises HostError."""
        ...
