# SPDX-License-Identifier: GPL-2.0-or-later
"""The objects of a simulated card as the daemon sees them (``xendisplback.host``), and their properties."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from xendisplback.kms.mode import Mode

CONNECTOR_PROPERTIES: Final = frozenset({"CRTC_ID"})
CRTC_PROPERTIES: Final = frozenset({"ACTIVE", "MODE_ID"})
PLANE_PROPERTIES: Final = frozenset(
    {"FB_ID", "CRTC_ID", "CRTC_X", "CRTC_Y", "CRTC_W", "CRTC_H"}
    | {"SRC_X", "SRC_Y", "SRC_W", "SRC_H"}
)


@dataclass(slots=True, eq=False)
class SimConnector:
    """``connected``, ``modes``, ``edid``: as of the card's last probe."""

    id: int
    name: str
    possible_crtcs: int
    crtc_id: int = 0
    connected: bool = False
    modes: Sequence[Mode] = ()
    edid: bytes = b""


@dataclass(frozen=True, slots=True)
class SimCrtc:
    id: int
    index: int


@dataclass(slots=True, eq=False)
class SimPlane:
    """``crtc_id``: as of the card's last probe."""

    id: int
    type: str
    formats: frozenset[int]
    possible_crtcs: int
    zpos: int | None = 0
    shadowed: bool = False
    crtc_id: int = 0


class SimBlob:
    def __init__(self, id: int, close: Callable[[int], None]) -> None:
        self.id = id
        self._close = close

    def close(self) -> None:
        self._close(self.id)
