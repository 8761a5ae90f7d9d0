# SPDX-License-Identifier: GPL-2.0-or-later
"""``xendisplback demo``: real daemon, two guests, two screens, and a picture of each."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from xendisplback.errors import HostError
from xendisplback.sim.demo import run_demo
from xendisplback.sim.device import Screen
from xendisplback.sim.png import write_png


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The demo sets logging up as a process of its own may."""
    logger = logging.getLogger("xendisplback")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:], logger.level = handlers, level


def read_png(path: Path) -> tuple[int, int, list[bytes]]:
    """Size and rows of RGB, of a file without filters."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, pixels, size = 8, b"", (0, 0)
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert checksum == zlib.crc32(kind + body)
        if kind == b"IHDR":
            size = struct.unpack_from(">II", body)
        elif kind == b"IDAT":
            pixels += body
        position += 12 + length
    stride = 1 + 3 * size[0]
    raw = zlib.decompress(pixels)
    assert len(raw) == stride * size[1]
    return *size, [raw[row * stride + 1 : (row + 1) * stride] for row in range(size[1])]


def test_png(tmp_path: Path) -> None:
    write_png(tmp_path / "x.png", Screen(2, 1, b"\x01\x02\x03\x00\x04\x05\x06\x00"))
    assert read_png(tmp_path / "x.png") == (2, 1, [b"\x03\x02\x01\x06\x05\x04"])


def test_demo_shows_what_its_guests_draw(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    assert run_demo(1.0, tmp_path / "out", lines.append) == 0, "\n".join(lines)
    text = "\n".join(lines)
    logged = capfd.readouterr().err
    assert "800x600@60, XR24, zero copy" in logged
    assert "1024x768@60, RG16, by copy" in logged
    assert text.count("equals what the guest drew") == 2
    for name, size in (("HDMI-A-1", (800, 600)), ("HDMI-A-2", (1024, 768))):
        assert f"{name}:" in text
        assert "flips/s" in text
        width, height, rows = read_png(tmp_path / "out" / f"{name}.png")
        assert (width, height) == size
        assert b"\xff" * 3 * width in rows, "the white beam"


def test_demo_says_where_it_could_not_save(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match="can't be saved") as caught:
        run_demo(0.1, tmp_path / "file" / "out", lambda line: None)
    assert str(tmp_path / "file" / "out") in str(caught.value)
