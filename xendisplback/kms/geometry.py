# SPDX-License-Identifier: GPL-2.0-or-later
"""Where in its memory a framebuffer's pixels are."""

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
