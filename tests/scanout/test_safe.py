# SPDX-License-Identifier: GPL-2.0-or-later
"""Safe pictures: their words, and what is painted."""

from __future__ import annotations

import ctypes
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.errors import HostError
from xendisplback.scanout.safe import Safe, load_safe, parse_safe


def png(path: Path, width: int, height: int, rgba: bytes) -> Path:
    """An RGBA PNG of one colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rows = (b"\0" + rgba * width) * height
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def painted(safe: Safe, width: int, height: int, pitch: int = 0) -> list[list[int]]:
    pitch = pitch or 4 * width
    memory = ctypes.create_string_buffer(pitch * height)
    load_safe(safe).paint(ctypes.addressof(memory), pitch, width, height)
    rows = [memory.raw[y * pitch : y * pitch + 4 * width] for y in range(height)]
    return [
        [int.from_bytes(row[x : x + 3], "little") for x in range(0, 4 * width, 4)] for row in rows
    ]


@pytest.mark.parametrize("word", ["blank", "#000000", "#10aBfF", "/etc/no-signal.png"])
def test_a_word_is_what_it_was_parsed_from(word: str) -> None:
    assert str(parse_safe(word)) == word
    assert parse_safe(word) == parse_safe(word)


@pytest.mark.parametrize("text", ["", "black", "#12345", "#1234567", "signal.png", "/etc/a.jpg"])
def test_other_words_are_refused_with_what_would_do(text: str) -> None:
    with pytest.raises(ValueError, match='"blank", a colour'):
        parse_safe(text)


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        assert str(parse_safe(text)) == text
    except ValueError:
        return


def test_blank_is_black_and_a_colour_is_everywhere() -> None:
    assert painted(Safe("blank"), 3, 2) == [[0] * 3] * 2
    assert painted(Safe("#102030"), 3, 2, pitch=64) == [[0x102030] * 3] * 2


def test_a_picture_is_in_the_middle_on_black(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 2, 2, b"\x10\x20\x30\xff")
    rows = painted(Safe(str(path)), 6, 4)
    assert rows == [
        [0] * 6,
        [0, 0, 0x102030, 0x102030, 0, 0],
        [0, 0, 0x102030, 0x102030, 0, 0],
        [0] * 6,
    ]


def test_what_is_transparent_is_over_black(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 1, 1, b"\xff\xff\xff\x00")
    assert painted(Safe(str(path)), 1, 1) == [[0]]


def test_a_larger_picture_is_scaled_down_with_its_proportions(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 80, 40, b"\x10\x20\x30\xff")
    rows = painted(Safe(str(path)), 8, 8)
    assert rows == [[0] * 8] * 2 + [[0x102030] * 8] * 4 + [[0] * 8] * 2


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"can't be read.*No such file.*none\.png"):
        load_safe(Safe(str(tmp_path / "none.png")))


@pytest.mark.parametrize("cut", [0, 7, 20, 60])
def test_a_broken_picture_is_named(tmp_path: Path, cut: int) -> None:
    path = png(tmp_path / "a.png", 30, 30, b"\x10\x20\x30\xff")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(HostError, match=r"not a PNG that can be read: .*a\.png"):
        load_safe(Safe(str(path)))


def test_a_huge_picture_is_refused_with_the_limit(tmp_path: Path) -> None:
    path = png(tmp_path / "a.png", 8193, 1, b"\x10\x20\x30\xff")
    with pytest.raises(HostError, match="8193x1, at most 8192x8192"):
        load_safe(Safe(str(path)))
