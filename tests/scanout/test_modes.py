# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mode and which format show a picture."""

from __future__ import annotations

import pytest

from xendisplback.kms.mode import Mode
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.formats import FORMATS, fourcc
from xendisplback.protocol.status import Status
from xendisplback.scanout.modes import choose_format, choose_mode


def mode(width: int, height: int, rate: int = 60) -> Mode:
    return Mode(65000, width, 0, 0, 0, 0, height, 0, 0, 0, 0, rate, 0, 0, f"{width}x{height}")


MODES = [mode(1920, 1080), mode(1024, 768, 75), mode(1024, 768), mode(800, 600)]


def test_the_equal_mode_nearest_to_60_hz_is_taken() -> None:
    assert choose_mode(MODES, 1024, 768) is MODES[2]


def test_without_an_equal_mode_the_smallest_that_holds_the_picture() -> None:
    assert choose_mode(MODES, 640, 480) is MODES[3]


def test_a_picture_larger_than_every_mode_is_refused_with_the_modes_named() -> None:
    with pytest.raises(RequestError, match=r"2560x1440.*1920x1080, 1024x768, 800x600") as caught:
        choose_mode(MODES, 2560, 1440)
    assert caught.value.status is Status.EINVAL


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
