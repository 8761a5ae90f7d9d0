# SPDX-License-Identifier: GPL-2.0-or-later
"""PNG files of screens (8-bit RGB, ISO 15948)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from xendisplback.sim.device import Screen


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def write_png(path: Path, screen: Screen) -> None:
    """Raises OSError."""
    count = screen.width * screen.height
    rgb = bytearray(3 * count)
    for channel in range(3):
        rgb[channel::3] = screen.pixels[2 - channel :: 4]
    stride = 3 * screen.width
    # Each row is preceded by its filter: none.
    rows = b"".join(b"\0" + rgb[row * stride : (row + 1) * stride] for row in range(screen.height))
    header = struct.pack(">IIBBBBB", screen.width, screen.height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows, 1))
        + _chunk(b"IEND", b"")
    )
