# SPDX-License-Identifier: GPL-2.0-or-later
"""What an output shows where no guest is: nothing, a colour, or a picture."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass

from xendisplback.errors import HostError

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Safe:
    """``word`` is the configuration's: ``blank``, ``#rrggbb``, or a PNG's absolute path."""

    word: str = "blank"

    def __str__(self) -> str:
        return self.word


def parse_safe(text: str) -> Safe:
    """Raises ValueError."""
    if text == "blank" or _COLOUR.fullmatch(text) or re.fullmatch(r"/.*\.png", text):
        return Safe(text)
    raise ValueError(
        f'{text!r} is no safe picture: write "blank", a colour ("#102030") or the absolute path of a PNG'
    )


class SafePicture:
    """Made by :func:`load_safe`."""

    def __init__(self, colour: int) -> None:
        self._colour = colour

    def paint(self, address: int, pitch: int, width: int, height: int) -> None:
        """Into zeroed XRGB8888 memory of that size. Blocking."""
        row = self._colour.to_bytes(4, "little") * width
        for y in range(height if self._colour else 0):
            ctypes.memmove(address + y * pitch, row, len(row))


def load_safe(safe: Safe) -> SafePicture:
    """Blocking. Raises HostError where the picture is missing or broken."""
    if safe.word == "blank":
        return SafePicture(0)
    if _COLOUR.fullmatch(safe.word):
        return SafePicture(int(safe.word[1:], 16))
    raise HostError("PNGs can't be read yet", path=safe.word)
