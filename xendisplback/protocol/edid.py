# SPDX-License-Identifier: GPL-2.0-or-later
"""EDIDs (VESA E-EDID 1.4, one block): made for a size, or checked as an operator's file."""

from __future__ import annotations

import struct
from typing import Final

BLOCK: Final = 128
MAX_WIDTH: Final = 4095
MAX_HEIGHT: Final = 4095
"""The 12 bits that a detailed timing has for each."""
MAX_SIZE: Final = 32768
"""displif.h: what a frontend's buffer must hold."""

_HEADER: Final = bytes.fromhex("00ffffffffffff00")
_MAX_CLOCK: Final = 65535
"""Units of 10 kHz."""
_MIN_PIXEL_RATE: Final = 10_100_000
"""Hz; what is slower than 10 MHz edid-decode takes for garbage."""
_WEEK_AND_YEAR: Final = (1, 2026 - 1990)
_PIXELS_PER_CM: Final = 38
"""96 dpi, as everybody assumes."""
_SMALLEST_CM: Final = 10
"""Below it, a screen's size is better not told."""


def made_edid(width: int, height: int, refresh: int = 60) -> bytes:
    """One block whose only and preferred timing is ``width`` x ``height`` at about ``refresh`` Hz.

    Raises ValueError beyond 1x1 to 4095x4095.
    """
    if not (1 <= width <= MAX_WIDTH and 1 <= height <= MAX_HEIGHT):
        raise ValueError(
            f"{width}x{height}: an EDID's timing holds 1x1 to {MAX_WIDTH}x{MAX_HEIGHT}"
        )
    timing = _Timing(width, height, refresh)
    cm = [min(255, side // _PIXELS_PER_CM) for side in (width, height)]
    if min(cm) < _SMALLEST_CM:
        cm = [0, 0]
    block = bytearray(_HEADER)
    # "XDB": three letters of five bits. Product and serial number mean nothing.
    block += struct.pack(">H", 24 << 10 | 4 << 5 | 2) + struct.pack("<HI", 1, 0)
    block += bytes((*_WEEK_AND_YEAR, 1, 4))
    # Digital, 8 bits per colour; sRGB is the colour space, the first timing the preferred one.
    block += bytes((0xA5, *cm, 120, 0x06))
    block += _srgb()
    block += bytes(3) + b"\x01\x01" * 8
    block += timing.descriptor(cm[0] * 10, cm[1] * 10)
    block += _text(0xFC, "xendisplback") + timing.limits() + _dummy()
    block += bytes(1)
    return bytes(block) + bytes((-sum(block) & 0xFF,))


class _Timing:
    """With CVT's reduced blanking, and more of it where the pixel clock would be too slow."""

    def __init__(self, width: int, height: int, refresh: int) -> None:
        self.width, self.height = width, height
        self.h_blank, self.h_front, self.h_sync = 160, 48, 32
        self.v_front, self.v_sync = 3, 6
        lines = round(height / (1 - 0.00046 * refresh))
        slowest = -(-_MIN_PIXEL_RATE // (refresh * (width + self.h_blank)))
        self.v_blank = max(lines - height, self.v_front + self.v_sync + 6, slowest - height)
        total = (width + self.h_blank) * (height + self.v_blank)
        self.clock = min(_MAX_CLOCK, max(1, round(total * refresh / 10000)))
        self.refresh = self.clock * 10000 / total
        self.line_khz = self.clock * 10 / (width + self.h_blank)

    def descriptor(self, width_mm: int, height_mm: int) -> bytes:
        """18 bytes."""
        return struct.pack(
            "<H16B",
            self.clock,
            *(self.width & 0xFF, self.h_blank & 0xFF),
            self.width >> 8 << 4 | self.h_blank >> 8,
            *(self.height & 0xFF, self.v_blank & 0xFF),
            self.height >> 8 << 4 | self.v_blank >> 8,
            *(self.h_front, self.h_sync),
            (self.v_front & 0xF) << 4 | self.v_sync & 0xF,
            0,
            *(width_mm & 0xFF, height_mm & 0xFF),
            width_mm >> 8 << 4 | height_mm >> 8,
            *(0, 0),
            # Separate digital syncs: horizontal positive, vertical negative, as reduced blanking has it.
            0x1A,
        )

    def limits(self) -> bytes:
        """Display range limits around the one timing."""
        vertical = max(1, int(self.refresh)), min(255, int(self.refresh) + 1)
        line = int(self.line_khz)
        offsets = 0
        low, high = max(1, line), line + 1
        if high > 255:
            offsets |= 0x08
            high -= 255
            if low > 255:
                offsets |= 0x0C
                low -= 255
        clock = min(255, self.clock // 1000 + 1)
        return bytes((0, 0, 0, 0xFD, offsets, *vertical, low, high, clock, 1, 0x0A)) + b" " * 6


def _srgb() -> bytes:
    """The chromaticities of sRGB, ten bits each."""
    values = [round(v * 1024) for v in (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)]
    low = [v & 3 for v in values]
    first = low[0] << 6 | low[1] << 4 | low[2] << 2 | low[3]
    second = low[4] << 6 | low[5] << 4 | low[6] << 2 | low[7]
    return bytes((first, second, *(v >> 2 for v in values)))


def _text(tag: int, text: str) -> bytes:
    return bytes((0, 0, 0, tag, 0)) + (text + "\n").encode("ascii").ljust(13)


def _dummy() -> bytes:
    return bytes((0, 0, 0, 0x10)) + bytes(14)


def check_edid(data: bytes) -> None:
    """Raises ValueError, saying what is wrong."""
    if not data.startswith(_HEADER):
        raise ValueError("it does not begin with an EDID's header, 00 ff ff ff ff ff ff 00")
    if len(data) % BLOCK or len(data) > MAX_SIZE:
        raise ValueError(
            f"{len(data)} bytes are not a number of blocks of {BLOCK}, at most {MAX_SIZE}"
        )
    if len(data) != BLOCK * (1 + data[126]):
        raise ValueError(
            f"it says that {data[126]} extension blocks follow, but has {len(data) // BLOCK - 1}"
        )
    for number in range(len(data) // BLOCK):
        total = sum(data[number * BLOCK : (number + 1) * BLOCK]) & 0xFF
        if total:
            raise ValueError(f"the checksum of block {number} is wrong, by {total}")
