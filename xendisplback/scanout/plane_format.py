# SPDX-License-Identifier: GPL-2.0-or-later
"""Which format a picture's framebuffer gets: decisions only, no I/O."""

from __future__ import annotations

from collections.abc import Callable

from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.formats import Format, fourcc, plain
from xendisplback.protocol.status import Status

XRGB8888 = fourcc("XR24")


def same_layout(source: Format) -> tuple[int, int]:
    """The FourCCs that show ``source``'s pixels as they are, the better one first.

    An alpha channel is dropped: premultiplied pixels over a black background are just their colours.
    """
    return plain(source).fourcc, source.fourcc


def choose_format(
    source: Format, plane_formats: frozenset[int], convertible: Callable[[int, int], bool]
) -> int:
    """The FourCC of the framebuffer that shows ``source``: its own without alpha if the plane has it.

    Raises RequestError EINVAL where the plane takes nothing that we can convert to.
    """
    for candidate in (*same_layout(source), XRGB8888):
        if candidate in plane_formats and convertible(source.fourcc, candidate):
            return candidate
    raise RequestError(
        Status.EINVAL, f"the output's plane takes neither {source.name} nor XR24 (XRGB8888)"
    )
