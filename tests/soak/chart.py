# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines over time as a PNG, one panel below the other, with a font of 3x5 dots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xendisplback.sim.device import Screen
from xendisplback.sim.png import write_png

WIDTH, PANEL = 960, 130
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 22, 8
SCALE = 2
"""Of the font."""
WHITE, BLACK, GREY = 0xFFFFFF, 0x000000, 0xDDDDDD
COLOURS = (0x1F5FBF, 0xC03030, 0x208040)

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz./-:"
_ROWS = (
    "75557 26227 71747 71717 55711 74717 74757 71122 75757 75717"
    " 25755 65656 34443 65556 74647 74644 34553 55755 72227 11152 55655 44447 57755 75555 25552"
    " 65644 25563 65655 34216 72222 55557 55522 55775 55255 55222 71247 00002 11244 00700 02020"
)
_GLYPHS = dict(zip(_LETTERS, _ROWS.split(), strict=True))
"""Rows as octal digits: a bit is a dot, 4 the left one."""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    lines: Sequence[tuple[str, Sequence[float]]]
    """Names and values, as many as there are times."""


class _Canvas:
    def __init__(self, height: int) -> None:
        self.height = height
        self._pixels = bytearray(WHITE.to_bytes(4, "little") * (WIDTH * height))

    def dot(self, x: int, y: int, colour: int) -> None:
        if 0 <= x < WIDTH and 0 <= y < self.height:
            start = 4 * (y * WIDTH + x)
            self._pixels[start : start + 4] = colour.to_bytes(4, "little")

    def box(self, x: int, y: int, width: int, height: int, colour: int) -> None:
        for row in range(y, y + height):
            for column in range(x, x + width):
                self.dot(column, row, colour)

    def text(self, x: int, y: int, text: str, colour: int = BLACK) -> int:
        """Where it ends."""
        for letter in text.lower():
            for row, bits in enumerate(_GLYPHS.get(letter, "00000")):
                for column in range(3):
                    if int(bits, 8) & 4 >> column:
                        self.box(x + SCALE * column, y + SCALE * row, SCALE, SCALE, colour)
            x += 4 * SCALE
        return x

    def line(self, x0: int, y0: int, x1: int, y1: int, colour: int) -> None:
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            self.dot(x0 + (x1 - x0) * step // steps, y0 + round((y1 - y0) * step / steps), colour)

    def screen(self) -> Screen:
        return Screen(WIDTH, self.height, bytes(self._pixels))


def draw(path: Path, times: Sequence[float], panels: Sequence[Panel]) -> None:
    """``times``: seconds, rising. Raises OSError."""
    canvas = _Canvas(PANEL * len(panels) + 20)
    span = max(times[-1] - times[0], 1e-9) if times else 1.0
    xs = [LEFT + round((t - times[0]) / span * (WIDTH - LEFT - RIGHT)) for t in times]
    for number, panel in enumerate(panels):
        _draw_panel(canvas, PANEL * number, xs, panel)
    canvas.text(LEFT, canvas.height - 14, f"0 to {span / 60:.1f} minutes")
    write_png(path, canvas.screen())


def _draw_panel(canvas: _Canvas, top: int, xs: Sequence[int], panel: Panel) -> None:
    high = max((max(values, default=0.0) for _, values in panel.lines), default=0.0) or 1.0
    first, last = top + TOP, top + PANEL - BOTTOM
    x = canvas.text(LEFT, top + 6, panel.title) + 20
    for y, value in ((first, high), ((first + last) // 2, high / 2), (last, 0.0)):
        canvas.line(LEFT, y, WIDTH - RIGHT, y, GREY)
        canvas.text(4, y - 5, f"{value:.4g}"[:6])
    for (name, values), colour in zip(panel.lines, COLOURS, strict=False):
        x = canvas.text(x, top + 6, name, colour) + 20
        ys = [last - round(value / high * (last - first)) for value in values]
        for i in range(1, len(xs)):
            canvas.line(xs[i - 1], ys[i - 1], xs[i], ys[i], colour)
