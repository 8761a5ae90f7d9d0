# SPDX-License-Identifier: GPL-2.0-or-later
"""Pictures: QEMU's screendumps, and the patterns that guest/draw.c draws, computed here a second time."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

# Bits of red, green and blue in the formats that guest/draw.c knows.
BITS = {
    "XR24": (8, 8, 8),
    "AR24": (8, 8, 8),
    "RG24": (8, 8, 8),
    "RG16": (5, 6, 5),
    "XR15": (5, 5, 5),
    "AR15": (5, 5, 5),
    "XR12": (4, 4, 4),
    "AR12": (4, 4, 4),
}


@dataclass(frozen=True, slots=True)
class Picture:
    """``rgb``: rows from the top, three bytes a pixel."""

    width: int
    height: int
    rgb: bytes


def parse_ppm(data: bytes) -> Picture:
    """A binary PPM with 8 bits a channel, as QEMU writes it."""
    found = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    if found is None:
        raise ValueError("not a PPM as QEMU writes it")
    width, height = int(found[1]), int(found[2])
    rgb, row = data[found.end() :], 3 * width
    # QEMU 7.2 writes its own rows, of whole words, where a PPM has none of that.
    stride = -(-row // 4) * 4
    if stride != row and len(rgb) == height * stride:
        rgb = b"".join(rgb[y * stride : y * stride + row] for y in range(height))
    if len(rgb) != height * row:
        raise ValueError(f"a PPM of {width}x{height} with {len(rgb)} bytes of pixels")
    return Picture(width, height, rgb)


def pattern(width: int, height: int, number: int, fourcc: str = "XR24") -> Picture:
    """guest/draw.c's pattern as a screen shows it: fewer bits are widened by repeating the upper ones."""
    red, green, blue = (_channel(bits) for bits in BITS[fourcc])
    rows: list[bytes] = []
    reds = bytes(red[(x + 7 * number) & 255] for x in range(width))
    for y in range(height):
        row = bytearray(3 * width)
        row[0::3] = reds
        row[1::3] = bytes([green[(y + 13 * number) & 255]]) * width
        mask = (y >> 1) ^ (29 * number)
        row[2::3] = bytes([blue[((x >> 2) ^ mask) & 255] for x in range(width)])
        rows.append(bytes(row))
    return Picture(width, height, b"".join(rows))


def plain(width: int, height: int, colour: str = "#000000") -> Picture:
    return Picture(width, height, bytes.fromhex(colour[1:]) * (width * height))


def placed(picture: Picture, below: Picture, x: int, y: int) -> Picture:
    """``picture`` on top of ``below``; what lies outside is cut off."""
    rows = bytearray(below.rgb)
    width = min(picture.width, below.width - x)
    for row in range(min(picture.height, below.height - y)):
        at, source = 3 * ((y + row) * below.width + x), 3 * row * picture.width
        rows[at : at + 3 * width] = picture.rgb[source : source + 3 * width]
    return Picture(below.width, below.height, bytes(rows))


def centered(picture: Picture, below: Picture) -> Picture:
    """In the middle; an odd pixel is on the right and at the bottom."""
    left, top = (below.width - picture.width) // 2, (below.height - picture.height) // 2
    return placed(picture, below, left, top)


def cut(picture: Picture, x: int, y: int, width: int, height: int) -> Picture:
    starts = (3 * ((y + row) * picture.width + x) for row in range(height))
    rgb = b"".join(picture.rgb[start : start + 3 * width] for start in starts)
    return Picture(width, height, rgb)


def scaled(picture: Picture, width: int, height: int) -> Picture:
    """Each pixel is the one of ``picture`` below its middle (nearest neighbour)."""
    columns = [(2 * x + 1) * picture.width // (2 * width) for x in range(width)]
    rows: dict[int, bytes] = {}
    rgb = bytearray()
    for y in range(height):
        source = (2 * y + 1) * picture.height // (2 * height)
        if source not in rows:
            at = 3 * source * picture.width
            row = [picture.rgb[at + 3 * x : at + 3 * x + 3] for x in columns]
            rows[source] = b"".join(row)
        rgb += rows[source]
    return Picture(width, height, bytes(rgb))


def png(picture: Picture) -> bytes:
    """As a file: 8 bits of red, green and blue, each row without a filter."""
    row = 3 * picture.width
    rows = b"".join(b"\0" + picture.rgb[at : at + row] for at in range(0, len(picture.rgb), row))
    header = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def difference(seen: Picture, expected: Picture) -> str | None:
    """None when every pixel agrees; else the count and the first one that doesn't."""
    if (seen.width, seen.height) != (expected.width, expected.height):
        return f"the screen is {seen.width}x{seen.height}, not {expected.width}x{expected.height}"
    if seen.rgb == expected.rgb:
        return None
    wrong = [
        at
        for at in range(0, len(seen.rgb), 3)
        if seen.rgb[at : at + 3] != expected.rgb[at : at + 3]
    ]
    y, x = divmod(wrong[0] // 3, seen.width)
    return (
        f"{len(wrong)} of {seen.width * seen.height} pixels differ, first at {x},{y}:"
        f" {seen.rgb[wrong[0] : wrong[0] + 3].hex()}"
        f" instead of {expected.rgb[wrong[0] : wrong[0] + 3].hex()}"
    )


def _channel(bits: int) -> list[int]:
    """What 8 bits become when they are cut to ``bits`` and widened again."""
    return [_widened(value >> (8 - bits), bits) for value in range(256)]


def _widened(value: int, bits: int) -> int:
    return value if bits == 8 else value << (8 - bits) | value >> (2 * bits - 8)
