# SPDX-License-Identifier: GPL-2.0-or-later
"""Pixel formats against numbers worked out by hand from drm_fourcc.h."""

from __future__ import annotations

import pytest

from xendisplback.sim.pixels import colour_after, pack, row_to_xrgb


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("XR24", b"\x56\x34\x12\x00"),
        ("AR24", b"\x56\x34\x12\xff"),
        ("RG24", b"\x56\x34\x12"),
        # 0x12 0x34 0x56 cut to 5, 6, 5 bits: 2, 13, 10.
        ("RG16", (2 << 11 | 13 << 5 | 10).to_bytes(2, "little")),
        ("XR15", (2 << 10 | 6 << 5 | 10).to_bytes(2, "little")),
        ("AR15", (1 << 15 | 2 << 10 | 6 << 5 | 10).to_bytes(2, "little")),
        ("XR12", (1 << 8 | 3 << 4 | 5).to_bytes(2, "little")),
        ("AR12", (15 << 12 | 1 << 8 | 3 << 4 | 5).to_bytes(2, "little")),
    ],
)
def test_pack(name: str, pixel: bytes) -> None:
    assert pack(0x123456, name) == pixel


def test_yuyv_of_black_and_white() -> None:
    assert pack(0x000000, "YUYV") == bytes((16, 128, 16, 128))
    assert pack(0xFFFFFF, "YUYV") == bytes((235, 128, 235, 128))


@pytest.mark.parametrize("name", ["XR24", "AR24", "RG24", "RG16", "XR15", "AR15", "XR12", "AR12"])
def test_extremes_survive_every_format(name: str) -> None:
    for colour in (0x000000, 0xFFFFFF, 0xFF0000, 0x00FF00, 0x0000FF):
        assert colour_after(colour, name) == colour


def test_bits_are_repeated() -> None:
    # 2, 13, 10 of 5, 6, 5 bits: 00010000, 00110100, 01010010.
    assert colour_after(0x123456, "RG16") == 0x103452


def test_rows_keep_their_order() -> None:
    row = pack(0xFF0000, "RG16") + pack(0x0000FF, "RG16")
    assert row_to_xrgb(row, "RG16") == b"\x00\x00\xff\x00\xff\x00\x00\x00"
