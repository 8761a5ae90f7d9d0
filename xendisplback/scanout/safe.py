# SPDX-License-Identifier: GPL-2.0-or-later
"""What an output shows where no guest is: nothing, a colour, or a picture."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from xendisplback._ext import load_png
from xendisplback.errors import HostError
from xendisplback.kms.geometry import Rect
from xendisplback.protocol.formats import fourcc
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.fit import place

if TYPE_CHECKING:
    from xendisplback._ext import _png

MAX_SIDE: Final = 8192
"""Pixels of a PNG: it is read by root."""
MAX_BYTES: Final = 64 << 20
_MESSAGE_SIZE = 64
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_PNG = re.compile(r"/.*\.png")
_XR24 = fourcc("XR24")


@dataclass(frozen=True, slots=True)
class Safe:
    """``word`` is the configuration's: ``blank``, ``#rrggbb``, or a PNG's absolute path."""

    word: str = "blank"

    def __str__(self) -> str:
        return self.word


def parse_safe(text: str) -> Safe:
    """Raises ValueError."""
    if text == "blank" or _COLOUR.fullmatch(text) or _PNG.fullmatch(text):
        return Safe(text)
    raise ValueError(
        f'{text!r} is no safe picture: write "blank", a colour ("#102030") or the absolute path of'
        ' a PNG ("/etc/xendisplback/no-signal.png")'
    )


class SafePicture(Protocol):
    """Made by :func:`load_safe`; what it needs is in memory."""

    def paint(self, address: int, pitch: int, width: int, height: int) -> None:
        """Into zeroed XRGB8888 memory, ``height`` rows of ``pitch`` bytes. Blocking."""
        ...


class _Colour:
    def __init__(self, colour: int) -> None:
        self._colour = colour

    def paint(self, address: int, pitch: int, width: int, height: int) -> None:
        row = self._colour.to_bytes(4, "little") * width
        for y in range(height if self._colour else 0):
            ctypes.memmove(address + y * pitch, row, len(row))


class _Image:
    """In the middle, on black; smaller where it does not fit."""

    def __init__(self, pixels: _png.Pixels, width: int, height: int) -> None:
        self._pixels = pixels
        self._width, self._height = width, height

    def paint(self, address: int, pitch: int, width: int, height: int) -> None:
        screen = Rect(0, 0, width, height)
        fits = self._width <= width and self._height <= height
        where = place("center" if fits else "letterbox", screen, self._width, self._height)
        CopyJob(
            int(load_png().ffi.cast("uintptr_t", self._pixels)),
            4 * self._width,
            address + where.y * pitch + 4 * where.x,
            pitch,
            self._width,
            self._height,
            _XR24,
            _XR24,
            destination_width=where.width,
            destination_height=where.height,
        ).run()


def load_safe(safe: Safe) -> SafePicture:
    """Blocking. Raises HostError where the picture is missing or broken."""
    if safe.word == "blank":
        return _Colour(0)
    if _COLOUR.fullmatch(safe.word):
        return _Colour(int(safe.word[1:], 16))
    return _read(Path(safe.word))


def _read(path: Path) -> _Image:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HostError(
            "the picture can't be read", call="open", path=str(path), errno=error.errno
        ) from error
    if len(data) > MAX_BYTES:
        raise HostError(f"the picture is larger than {MAX_BYTES >> 20} MiB", path=str(path))
    c = load_png()
    width, height = c.ffi.new("uint32_t *"), c.ffi.new("uint32_t *")
    message = c.ffi.new("char[]", _MESSAGE_SIZE)
    if c.lib.xdb_png_size(data, len(data), width, height, message) != 0:
        raise _broken(path, c.ffi.string(message))
    if max(width[0], height[0]) > MAX_SIDE:
        raise HostError(
            f"the picture is {width[0]}x{height[0]}, at most {MAX_SIDE}x{MAX_SIDE} are shown",
            path=str(path),
        )
    pixels = c.ffi.new("uint32_t[]", width[0] * height[0])
    if c.lib.xdb_png_read(data, len(data), pixels, message) != 0:
        raise _broken(path, c.ffi.string(message))
    return _Image(pixels, width[0], height[0])


def _broken(path: Path, message: bytes) -> HostError:
    text = message.decode("ascii", "replace") or "out of memory"
    return HostError(f"not a PNG that can be read: {text}", path=str(path))
