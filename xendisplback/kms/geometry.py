# SPDX-License-Identifier: GPL-2.0-or-later
"""Where pixels are: in a framebuffer's memory, and on a screen."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Geometry:
    """``height`` rows of ``pitch`` bytes from byte ``offset`` on; ``format`` is a FourCC code."""

    width: int
    height: int
    pitch: int
    offset: int
    format: int


@dataclass(frozen=True, slots=True)
class Rect:
    """A part of a screen, in its mode's pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def covers(self, other: Rect) -> bool:
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )
