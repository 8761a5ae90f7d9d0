# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig's eye: it must see a single wrong pixel, and must not be fooled by its own arithmetic."""

from __future__ import annotations

import pytest

from tests.rig.picture import BITS, Picture, difference, parse_ppm, pattern
from tests.rig.smpte import smpte


def test_a_ppm_whose_pixels_look_like_blanks_is_read_whole() -> None:
    assert parse_ppm(b"P6\n2 1\n255\n \n\t   ") == Picture(2, 1, b" \n\t   ")


def test_a_short_ppm_is_refused() -> None:
    with pytest.raises(ValueError, match="PPM"):
        parse_ppm(b"P6\n2 2\n255\n123456")


def test_a_wrong_pixel_is_found_and_named() -> None:
    expected = pattern(64, 48, 3)
    wrong = bytearray(expected.rgb)
    wrong[(5 * 64 + 7) * 3] ^= 1
    said = difference(Picture(64, 48, bytes(wrong)), expected)
    assert said is not None
    assert "1 of 3072 pixels differ, first at 7,5" in said


def test_equal_pictures_do_not_differ() -> None:
    assert difference(pattern(8, 8, 1), pattern(8, 8, 1)) is None


def test_another_size_is_not_compared() -> None:
    said = difference(pattern(8, 4, 0), pattern(4, 8, 0))
    assert said == "the screen is 8x4, not 4x8"


@pytest.mark.parametrize("fourcc", BITS)
def test_neighbouring_patterns_differ_in_every_format(fourcc: str) -> None:
    assert difference(pattern(64, 64, 1, fourcc), pattern(64, 64, 2, fourcc)) is not None


def test_fewer_bits_are_widened_by_their_upper_ones() -> None:
    # x 255, y 0, pattern 0: red 255 and blue 63 become 31 and 7 of 31, then 255 and (7 << 3 | 7 >> 2).
    assert pattern(256, 1, 0, "RG16").rgb[-3:] == bytes([255, 0, 57])


def test_the_colour_bars_fill_the_screen() -> None:
    picture = smpte(800, 600)
    assert len(picture.rgb) == 800 * 600 * 3
    assert picture.rgb[:3] == bytes([192, 192, 192])
