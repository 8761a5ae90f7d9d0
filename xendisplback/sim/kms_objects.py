# SPDX-License-Identifier: GPL-2.0-or-later
"""The objects of a simulated card as the daemon sees them (``xendisplback.host``), and their properties."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from xendisplback.kms.mode import Mode
from xendisplback.protocol.formats import FORMATS, fourcc_name
from xendisplback.sim.mapping import PAGE, PageMapping, memory_file
from xendisplback.sim.pixels import row_to_xrgb

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
    connected: bool = False
    modes: Sequence[Mode] = ()
    edid: bytes = b""


@dataclass(frozen=True, slots=True)
class SimCrtc:
    id: int
    index: int


@dataclass(frozen=True, slots=True)
class SimPlane:
    id: int
    type: str
    formats: frozenset[int]
    possible_crtcs: int
    shadowed: bool = False


class SimBlob:
    def __init__(self, id: int, close: Callable[[int], None]) -> None:
        self.id = id
        self._close = close

    def close(self) -> None:
        self._close(self.id)


class SimFramebuffer:
    """Fulfils :class:`xendisplback.host.DumbFramebuffer`: memory like a dumb buffer's, mapped for the CPU."""

    def __init__(
        self, id: int, width: int, height: int, format: int, close: Callable[[SimFramebuffer], None]
    ) -> None:
        """Raises OSError."""
        self.id = id
        self.width = width
        self.height = height
        self.format = format
        # Drivers align rows to what their hardware wants: a pitch that is rarely exact, as most have.
        self.pitch = (width * FORMATS[format].bytes_per_pixel + 255) // 256 * 256
        pages = (self.pitch * height + PAGE - 1) // PAGE
        self.size = pages * PAGE
        self._close = close
        self._fd = memory_file("sim-dumb", self.size)
        self._mapping = PageMapping(self._fd, range(pages), writable=True)
        self.address = self._mapping.address

    def xrgb(self, x: int, y: int, width: int, height: int) -> bytes:
        """A part of the picture as XRGB8888, rows one after the other."""
        name = fourcc_name(self.format)
        pixel = FORMATS[self.format].bytes_per_pixel
        rows: list[bytes] = []
        with mmap.mmap(self._fd, self.size, prot=mmap.PROT_READ) as memory:
            for row in range(y, y + height):
                start = row * self.pitch + x * pixel
                rows.append(row_to_xrgb(memory[start : start + width * pixel], name))
        return b"".join(rows)

    def vanish(self) -> None:
        """The device is gone: whoever touches the mapping gets SIGBUS, as with a driver that was unbound."""
        os.ftruncate(self._fd, 0)

    def close(self) -> None:
        if self._fd >= 0:
            self._close(self)
            self._mapping.close()
            os.close(self._fd)
            self._fd = -1
