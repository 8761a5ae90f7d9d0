# SPDX-License-Identifier: GPL-2.0-or-later
"""The SMPTE colour bars as modetest 2.4 draws them in XRGB8888."""

from __future__ import annotations

from tests.rig.picture import Picture

GREY, YELLOW, CYAN, GREEN = (192, 192, 192), (192, 192, 0), (0, 192, 192), (0, 192, 0)
MAGENTA, RED, BLUE, BLACK = (192, 0, 192), (192, 0, 0), (0, 0, 192), (19, 19, 19)
IN_PHASE, WHITE, QUADRATURE = (0, 33, 76), (255, 255, 255), (50, 0, 106)
DARKER, LIGHTER = (9, 9, 9), (29, 29, 29)

TOP = (GREY, YELLOW, CYAN, GREEN, MAGENTA, RED, BLUE)
MIDDLE = (BLUE, BLACK, MAGENTA, BLACK, CYAN, BLACK, GREY)
BOTTOM = (IN_PHASE, WHITE, QUADRATURE, BLACK, DARKER, BLACK, LIGHTER, BLACK)


def smpte(width: int, height: int) -> Picture:
    """Seven bars on two thirds, the reversed row to seven ninths, the pluge row below."""
    top = [TOP[x * 7 // width] for x in range(width)]
    middle = [MIDDLE[x * 7 // width] for x in range(width)]
    bottom = [_bottom(x, width) for x in range(width)]
    rows = [top] * (height * 6 // 9)
    rows += [middle] * (height * 7 // 9 - len(rows))
    rows += [bottom] * (height - len(rows))
    return Picture(
        width, height, b"".join(bytes(c for pixel in row for c in pixel) for row in rows)
    )


def _bottom(x: int, width: int) -> tuple[int, int, int]:
    """Four fields on five sevenths, three narrow ones on the sixth, black on the last."""
    five, six = width * 5 // 7, width * 6 // 7
    if x < five:
        return BOTTOM[x * 4 // five]
    if x < six:
        return BOTTOM[(x - five) * 3 // (width // 7) + 4]
    return BOTTOM[7]
