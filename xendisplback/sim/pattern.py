# SPDX-License-Identifier: GPL-2.0-or-later
"""What the demo's guests draw: colour bars, darker from band to band, and a white beam that moves down.

A picture is a function of its number, so that what is on a screen can be compared with what belongs there.
"""

from __future__ import annotations

from xendisplback.sim.guest_buffer import GuestFramebuffer
from xendisplback.sim.pixels import pack, row_to_xrgb

BARS = (0xFFFFFF, 0xFFFF00, 0x00FFFF, 0x00FF00, 0xFF00FF, 0xFF0000, 0x0000FF, 0x404040)
BEAM = 0xFFFFFF
BEAM_ROWS = 24
BAND_ROWS = 32


def _dim(colour: int, share: float) -> int:
    channels = (colour >> shift & 0xFF for shift in (16, 8, 0))
    red, green, blue = (int(channel * share) for channel in channels)
    return red << 16 | green << 8 | blue


class MovingBeam:
    """Pictures of one size and format; ``step``: rows that the beam moves from one to the next."""

    def __init__(self, width: int, height: int, format: str, step: int) -> None:
        self._height = height
        self._format = format
        self._step = step
        self._beam = pack(BEAM, format) * width
        bands = -(-height // BAND_ROWS)
        self._bands = [self._band(width, 1 - band / bands / 1.5) for band in range(bands)]
        self._drawn: dict[int, int] = {}

    def _band(self, width: int, share: float) -> bytes:
        edges = [width * bar // len(BARS) for bar in range(len(BARS) + 1)]
        return b"".join(
            pack(_dim(colour, share), self._format) * (right - left)
            for colour, left, right in zip(BARS, edges, edges[1:], strict=False)
        )

    def _top(self, number: int) -> int:
        return number * self._step % (self._height - BEAM_ROWS)

    def _row(self, y: int, number: int) -> bytes:
        inside = 0 <= y - self._top(number) < BEAM_ROWS
        return self._beam if inside else self._bands[y // BAND_ROWS]

    def draw(self, fb: GuestFramebuffer, number: int) -> None:
        """Make ``fb`` picture ``number``; only what differs from what was drawn there last is written."""
        previous = self._drawn.get(fb.cookie)
        self._drawn[fb.cookie] = number
        if previous is None:
            fb.draw(0, [self._row(y, number) for y in range(self._height)])
            return
        for top in (self._top(previous), self._top(number)):
            fb.draw(top, [self._row(y, number) for y in range(top, top + BEAM_ROWS)])

    def expected(self, number: int) -> bytes:
        """Picture ``number`` as XRGB8888, as it is on a screen."""
        beam = row_to_xrgb(self._beam, self._format)
        bands = [row_to_xrgb(band, self._format) for band in self._bands]
        top = self._top(number)
        return b"".join(
            beam if 0 <= y - top < BEAM_ROWS else bands[y // BAND_ROWS] for y in range(self._height)
        )
