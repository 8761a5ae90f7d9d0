# SPDX-License-Identifier: GPL-2.0-or-later
"""Which format a picture's framebuffer gets."""

from __future__ import annotations

import pytest

from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.formats import FORMATS, fourcc
from xendisplback.scanout.plane_format import choose_format


def convertible(source: int, target: int) -> bool:
    return source == target or target == fourcc("XR24")


@pytest.mark.parametrize(
    ("source", "plane", "expected"),
    [
        ("RG16", {"RG16", "XR24"}, "RG16"),
        ("RG16", {"XR24"}, "XR24"),
        ("AR24", {"XR24", "AR24"}, "XR24"),
        ("YUYV", {"YUYV"}, "YUYV"),
    ],
)
def test_the_planes_own_format_is_preferred_and_alpha_is_dropped(
    source: str, plane: set[str], expected: str
) -> None:
    formats = frozenset(fourcc(name) for name in plane)
    assert choose_format(FORMATS[fourcc(source)], formats, convertible) == fourcc(expected)


def test_a_plane_that_takes_nothing_of_ours_is_refused() -> None:
    with pytest.raises(RequestError, match="RG16"):
        choose_format(FORMATS[fourcc("RG16")], frozenset({fourcc("NV12")}), convertible)
