# SPDX-License-Identifier: GPL-2.0-or-later
"""The words that name cards: a path, ``driver:rcar-du``, ``connector:HDMI-A-1``."""

from __future__ import annotations

from typing import Literal, NamedTuple

from xendisplback.errors import HostError


class Selector(NamedTuple):
    kind: Literal["path", "driver", "connector"]
    name: str


def parse_selector(text: str) -> Selector:
    """Raises HostError."""
    if text.startswith("/"):
        return Selector("path", text)
    kind, _, name = text.partition(":")
    if kind == "driver" and name:
        return Selector("driver", name)
    if kind == "connector" and name:
        return Selector("connector", name)
    raise HostError(
        f"card selector {text!r} not understood",
        hint="write a path (/dev/dri/card0), driver:NAME or connector:NAME (connector:HDMI-A-1)",
    )
