# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies and conversions in C against a slow reference, at any size, pitch and alignment."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xendisplback.protocol.formats import FORMATS, fourcc
from xendisplback.scanout.copy_job import CopyJob, can_convert

XR24 = fourcc("XR24")


def widen(value: int, bits: int) -> int:
    """A channel of ``bits`` bits as 8: its top bits repeated below."""
    value <<= 8 - bits
    return value | value >> bits


def rgb(red: int, green: int, blue: int) -> bytes:
    return bytes((blue, green, red))


def yuv(y: int, u: int, v: int) -> bytes:
    """BT.601, limited range, with the usual 8-bit coefficients."""
    c, d, e = 298 * (y - 16) + 128, u - 128, v - 128
    values = (c + 409 * e) >> 8, (c - 100 * d - 208 * e) >> 8, (c + 516 * d) >> 8
    return rgb(*(min(255, max(0, value)) for value in values))


def packed16(red: int, green: int, blue: int) -> Callable[[bytes], list[bytes]]:
    """Rows of 16-bit pixels with that many bits for each channel."""

    def convert(row: bytes) -> list[bytes]:
        pixels = [int.from_bytes(row[i : i + 2], "little") for i in range(0, len(row), 2)]
        return [
            rgb(
                widen(v >> (green + blue) & ((1 << red) - 1), red),
                widen(v >> blue & ((1 << green) - 1), green),
                widen(v & ((1 << blue) - 1), blue),
            )
            for v in pixels
        ]

    return convert


def from_yuyv(row: bytes) -> list[bytes]:
    pixels: list[bytes] = []
    for i in range(0, len(row), 4):
        # The V of an odd width's last pixel lies outside of the row: the pair before gives it.
        v = row[i + 3] if i + 3 < len(row) else row[i - 1] if i else 128
        pixels += [yuv(y, row[i + 1], v) for y in row[i : i + 4 : 2]]
    return pixels


def from_bytes(size: int) -> Callable[[bytes], list[bytes]]:
    return lambda row: [row[i : i + 3] for i in range(0, len(row), size)]


REFERENCE: dict[str, Callable[[bytes], list[bytes]]] = {
    "RG16": packed16(5, 6, 5),
    "RG24": from_bytes(3),
    "XR24": from_bytes(4),
    "AR24": from_bytes(4),
    "XR12": packed16(4, 4, 4),
    "AR12": packed16(4, 4, 4),
    "XR15": packed16(5, 5, 5),
    "AR15": packed16(5, 5, 5),
    "YUYV": from_yuyv,
}


def run(
    source: bytes, target: bytearray, *layout: int, formats: tuple[int, int], source_offset: int = 0
) -> None:
    """``layout``: source pitch, target offset, target pitch, width, height."""
    source_pitch, offset, pitch, width, height = layout
    memory = ctypes.create_string_buffer(b"\x5a" * source_offset + source)
    view = (ctypes.c_char * len(target)).from_buffer(target)
    job = CopyJob(
        ctypes.addressof(memory) + source_offset,
        source_pitch,
        ctypes.addressof(view) + offset,
        pitch,
        width,
        height,
        *formats,
    )
    job.run()


@pytest.mark.parametrize("name", REFERENCE)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 4),
    source_offset=st.integers(0, 17),
    source_gap=st.integers(0, 9),
    target_gap=st.integers(0, 3),
    offset=st.integers(0, 20),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_every_format_becomes_xrgb8888_and_nothing_else_is_written(
    name: str,
    width: int,
    height: int,
    source_offset: int,
    source_gap: int,
    target_gap: int,
    offset: int,
    data: st.DataObject,
) -> None:
    offset *= 4
    row_bytes = width * FORMATS[fourcc(name)].bytes_per_pixel
    source_pitch, pitch = row_bytes + source_gap, 4 * (width + target_gap)
    # Random bytes by seed: hypothesis would spend its time on drawing them.
    seed = data.draw(st.integers(0, 1 << 16))
    source = bytes(
        (seed * 31 + i * 167 + (i >> 3) * 91) & 255 for i in range(source_pitch * height)
    )
    target = bytearray(b"\xa5" * (offset + pitch * height + 64))
    expected = bytearray(target)
    layout = source_pitch, offset, pitch, width, height
    run(source, target, *layout, formats=(fourcc(name), XR24), source_offset=source_offset)
    for y in range(height):
        row = source[y * source_pitch : y * source_pitch + row_bytes]
        for x, pixel in enumerate(REFERENCE[name](row)):
            at = offset + y * pitch + 4 * x
            expected[at : at + 3] = pixel
            expected[at + 3] = target[at + 3]
    assert target == expected


@pytest.mark.parametrize("name", [fmt.name for fmt in FORMATS.values()])
@given(width=st.integers(1, 300), offset=st.integers(0, 17), gap=st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_the_same_format_is_copied_byte_by_byte(
    name: str, width: int, offset: int, gap: int
) -> None:
    row = width * FORMATS[fourcc(name)].bytes_per_pixel
    source = os.urandom(row * 3)
    target = bytearray(offset + (row + gap) * 3)
    expected = bytearray(target)
    code = fourcc(name)
    run(source, target, row, offset, row + gap, width, 3, formats=(code, code))
    for y in range(3):
        at = offset + y * (row + gap)
        expected[at : at + row] = source[y * row : (y + 1) * row]
    assert target == expected


def test_what_can_be_converted() -> None:
    assert all(can_convert(code, XR24) for code in FORMATS)
    assert can_convert(fourcc("AR12"), fourcc("XR12"))
    assert not can_convert(XR24, fourcc("RG16"))
    assert not can_convert(fourcc("NV12"), XR24)
    with pytest.raises(ValueError, match="no conversion"):
        CopyJob(0, 0, 0, 0, 1, 1, XR24, fourcc("RG16"))
