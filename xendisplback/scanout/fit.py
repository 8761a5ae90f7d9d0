# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mode shows a guest's picture, and where in it the picture goes: decisions only, no I/O.

A picture that is scaled costs sharpness, and a mode that fits badly only costs borders: nothing is scaled
unless the operator says so, by ``fit``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from xendisplback.kms.geometry import Rect
from xendisplback.kms.mode import Mode
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status

Fit = Literal["exact", "center", "letterbox", "scale"]
"""Only in a mode of its own size; unscaled, in the middle; scaled with its proportions; scaled to fill."""

DEFAULT_REFRESH: Final = 60.0
"""Hz."""

_MODE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})(?:@([0-9]{1,4}(?:\.[0-9]{1,3})?))?")
_MOST_PIXELS = 65535
_MOST_HERTZ = 1000
_INTERLACE = 1 << 4
"""DRM_MODE_FLAG_INTERLACE and DRM_MODE_FLAG_DBLSCAN of drm_mode.h."""
_DOUBLE_SCAN = 1 << 5


@dataclass(frozen=True, slots=True)
class ModeWish:
    """A mode as an operator writes it: pixels, and Hz where they matter."""

    width: int
    height: int
    refresh: float | None = None

    def __str__(self) -> str:
        size = f"{self.width}x{self.height}"
        return size if self.refresh is None else f"{size}@{self.refresh:.7g}"


def parse_mode(text: str) -> ModeWish:
    """``1920x1080``, ``1920x1080@60`` or ``1920x1080@59.94``. Raises ValueError."""
    found = _MODE.fullmatch(text)
    if found is not None:
        width, height = int(found[1]), int(found[2])
        refresh = None if found[3] is None else float(found[3])
        sizes = 0 < width <= _MOST_PIXELS and 0 < height <= _MOST_PIXELS
        if sizes and (refresh is None or 0 < refresh <= _MOST_HERTZ):
            return ModeWish(width, height, refresh)
    raise ValueError(
        f'{text!r} is no mode: "WIDTHxHEIGHT" or "WIDTHxHEIGHT@HZ" is expected, as "1920x1080@60",'
        f" up to {_MOST_PIXELS}x{_MOST_PIXELS} and {_MOST_HERTZ} Hz"
    )


def choose_mode(
    modes: Sequence[Mode],
    width: int,
    height: int,
    fit: Fit,
    wish: ModeWish | None = None,
    refresh: float | None = None,
) -> Mode:
    """The mode of a monitor that offers ``modes`` for a picture of ``width`` x ``height``.

    That of ``wish`` whatever the picture's size is. Without: one of the picture's own size; else, not for
    "exact", the smallest that holds it; else, for "letterbox" and "scale", the largest. Of several of one size
    the one nearest to the wish's or to ``refresh`` or to 60 Hz; an interlaced one only where no other will do.
    Raises RequestError EINVAL, naming the modes there are.
    """
    if wish is not None:
        size, refresh = (wish.width, wish.height), wish.refresh or refresh
        found = _among(modes, lambda some: [m for m in some if _size(m) == size])
    else:
        found = _among(modes, lambda some: _suitable(some, width, height, fit))
    if found:
        return _nearest(found, refresh)
    if wish is not None:
        why = f"no mode is {wish.width}x{wish.height}, as configured"
    else:
        why = f"no mode {'is' if fit == 'exact' else 'holds'} {width}x{height}"
    raise RequestError(Status.EINVAL, f"{why}; {_offer(modes, scalable=wish is None)}")


def preferred_mode(modes: Sequence[Mode], refresh: float | None = None) -> Mode:
    """The mode for no guest in particular: of the size that the monitor prefers, else of the largest.

    Of several of that size the one nearest to ``refresh``, if there is one. Raises RequestError EINVAL.
    """
    usable = _among(modes, list)
    if not usable:
        raise RequestError(Status.EINVAL, f"no mode; {_offer(modes, scalable=False)}")
    preferred = [m for m in usable if m.preferred]
    if preferred and refresh is None:
        return preferred[0]
    size = _size(preferred[0] if preferred else _largest(usable)[0])
    return _nearest([m for m in usable if _size(m) == size], refresh)


def place(fit: Fit, area: Rect, width: int, height: int) -> Rect:
    """Where in ``area`` a picture of ``width`` x ``height`` goes, none of them empty.

    Raises RequestError EINVAL where ``fit`` does not scale it and it is too large; for "exact" where it differs.
    """
    if fit == "scale":
        return area
    if fit == "letterbox":
        if width * area.height <= height * area.width:
            width, height = _rounded(width * area.height, height), area.height
        else:
            width, height = area.width, _rounded(height * area.width, width)
    elif fit == "exact" and (width, height) != area.size:
        raise _misfit("differs from", area, width, height)
    elif width > area.width or height > area.height:
        raise _misfit("is larger than", area, width, height)
    return Rect(
        area.x + (area.width - width) // 2, area.y + (area.height - height) // 2, width, height
    )


def refresh_rate(mode: Mode) -> float:
    """Hz, as exactly as the clock says: ``vrefresh`` calls 59.94 Hz 60. See drm_mode_vrefresh()."""
    pixels = mode.htotal * mode.vtotal * max(1, mode.vscan)
    if not pixels:
        return mode.vrefresh
    fields = 2 if mode.flags & _INTERLACE else 1
    return mode.clock * 1000 * fields / (pixels * (2 if mode.flags & _DOUBLE_SCAN else 1))


def _rounded(dividend: int, divisor: int) -> int:
    return max(1, (2 * dividend + divisor) // (2 * divisor))


def _misfit(how: str, area: Rect, width: int, height: int) -> RequestError:
    return RequestError(
        Status.EINVAL,
        f"the picture, {width}x{height}, {how} its place, {area.width}x{area.height}"
        ' (fit = "letterbox" would scale it)',
    )


def _offer(modes: Sequence[Mode], *, scalable: bool) -> str:
    if not modes:
        return "the monitor offers none (is one connected?)"
    sizes = ", ".join(dict.fromkeys(f"{m.hdisplay}x{m.vdisplay}" for m in modes))
    hint = ' (fit = "letterbox" would scale it)' if scalable else ""
    return f"the monitor's modes: {sizes}{hint}"


def _size(mode: Mode) -> tuple[int, int]:
    return mode.hdisplay, mode.vdisplay


def _among(modes: Sequence[Mode], suitable: Callable[[Sequence[Mode]], list[Mode]]) -> list[Mode]:
    """What is suitable of those that are not interlaced; else of all."""
    return suitable([m for m in modes if not m.flags & _INTERLACE]) or suitable(modes)


def _suitable(modes: Sequence[Mode], width: int, height: int, fit: Fit) -> list[Mode]:
    """Of one size."""
    if fit == "exact":
        return [m for m in modes if _size(m) == (width, height)]
    holding = [m for m in modes if m.hdisplay >= width and m.vdisplay >= height]
    if holding:
        smallest = min(map(_size, holding), key=lambda size: (size[0] * size[1], size))
        return [m for m in holding if _size(m) == smallest]
    return [] if fit == "center" else _largest(modes)


def _largest(modes: Sequence[Mode]) -> list[Mode]:
    """Of one size."""
    largest = max(map(_size, modes), key=lambda size: (size[0] * size[1], size), default=None)
    return [m for m in modes if _size(m) == largest]


def _nearest(modes: Sequence[Mode], refresh: float | None) -> Mode:
    wanted = refresh or DEFAULT_REFRESH
    return min(modes, key=lambda m: (abs(refresh_rate(m) - wanted), not m.preferred))
