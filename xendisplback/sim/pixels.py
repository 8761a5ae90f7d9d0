# SPDX-License-Identifier: GPL-2.0-or-later
"""Pixels in the formats of drm_fourcc.h, to and from 0xRRGGBB. Slow and plain; nothing here is shared with the
daemon's converter, which tests compare with it.
"""

from __future__ import annotations

import array
import functools

_FIELDS_16 = {
    "RG16": ((11, 5), (5, 6), (0, 5)),
    "XR12": ((8, 4), (4, 4), (0, 4)),
    "AR12": ((8, 4), (4, 4), (0, 4)),
    "XR15": ((10, 5), (5, 5), (0, 5)),
    "AR15": ((10, 5), (5, 5), (0, 5)),
}
"""(lowest bit, bits) of red, green, blue."""
_ALPHA = {"AR24": 0xFF000000, "AR12": 0xF000, "AR15": 0x8000}
BITS_PER_PIXEL = {"XR24": 32, "AR24": 32, "RG24": 24, "YUYV": 16} | dict.fromkeys(_FIELDS_16, 16)


def pack(colour: int, name: str) -> bytes:
    """One opaque pixel of ``colour``; for YUYV, which has none alone, two. Raises KeyError for other formats."""
    red, green, blue = colour >> 16, colour >> 8 & 0xFF, colour & 0xFF
    if name in ("XR24", "AR24"):
        return (colour | _ALPHA.get(name, 0)).to_bytes(4, "little")
    if name == "RG24":
        return colour.to_bytes(3, "little")
    if name == "YUYV":
        luma = 16 + (66 * red + 129 * green + 25 * blue + 128 >> 8)
        u = 128 + (-38 * red - 74 * green + 112 * blue + 128 >> 8)
        v = 128 + (112 * red - 94 * green - 18 * blue + 128 >> 8)
        return bytes((luma, u, luma, v))
    value = _ALPHA.get(name, 0)
    for channel, (shift, bits) in zip((red, green, blue), _FIELDS_16[name], strict=True):
        value |= channel >> 8 - bits << shift
    return value.to_bytes(2, "little")


def _widen(value: int, bits: int) -> int:
    """``bits`` bits to 8 by repeating the upper ones."""
    return (value << 8 - bits) | (value >> 2 * bits - 8)


@functools.cache
def _table(name: str) -> list[bytes]:
    red, green, blue = _FIELDS_16[name]
    return [
        bytes(_widen(value >> shift & (1 << bits) - 1, bits) for shift, bits in (blue, green, red))
        + b"\0"
        for value in range(1 << 16)
    ]


def row_to_xrgb(row: bytes, name: str) -> bytes:
    """A row of pixels as XRGB8888 whose unused byte is 0. Raises KeyError for YUYV."""
    if name in ("XR24", "AR24"):
        pixels = bytearray(row)
        pixels[3::4] = bytes(len(row) // 4)
        return bytes(pixels)
    if name == "RG24":
        pixels = bytearray(len(row) // 3 * 4)
        for channel in range(3):
            pixels[channel::4] = row[channel::3]
        return bytes(pixels)
    table = _table(name)
    return b"".join([table[value] for value in array.array("H", row)])


def colour_after(colour: int, name: str) -> int:
    """What is left of ``colour`` once it has been stored as ``name``."""
    return int.from_bytes(row_to_xrgb(pack(colour, name), name)[:3], "little")
