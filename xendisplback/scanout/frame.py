# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's framebuffer as memory that the daemon can read."""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.protocol.layout import FrameLayout


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """``layout.height`` rows of ``layout.pitch`` bytes from ``address`` on (the offset is in it).

    Compared and hashed by identity: a guest may attach any number of framebuffers to one buffer.
    """

    address: int
    layout: FrameLayout
