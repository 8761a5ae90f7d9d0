# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenarios, in the order they run; importing a module registers its own."""

from __future__ import annotations

from tests.rig.scenarios import (
    endings,
    figures,
    flips,
    pictures,
    refusals,
    starting,
    toolstack,
    two_guests,
)

__all__ = [
    "endings",
    "figures",
    "flips",
    "pictures",
    "refusals",
    "starting",
    "toolstack",
    "two_guests",
]
