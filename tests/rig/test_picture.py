# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig's eye: it must see a single wrong pixel, and must not be fooled by its own arithmetic."""

from __future__ import annotations

import zlib

import pytest

from tests.rig.picture import (
    BITS,
    Picture,
    centered,
    cut,
    difference,
    parse_ppm,
    pattern,
    placed,
    plain,
    png,
    scaled,
)
from tests.rig.smpte import smpte
from tests.rig.vkms import checksum


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


def test_a_picture_on_another_one_covers_it_there_and_ends_with_it() -> None:
    below, above = pattern(8, 6, 1), plain(4, 4, "#123456")
    seen = placed(above, below, 6, 4)
    assert cut(seen, 6, 4, 2, 2) == plain(2, 2, "#123456")
    assert cut(seen, 0, 0, 8, 4) == cut(below, 0, 0, 8, 4)
    assert cut(seen, 0, 4, 6, 2) == cut(below, 0, 4, 6, 2)


def test_the_odd_pixel_of_a_centered_picture_is_right_and_below() -> None:
    seen = centered(plain(2, 2, "#ffffff"), plain(5, 5))
    assert cut(seen, 1, 1, 2, 2) == plain(2, 2, "#ffffff")
    assert sum(seen.rgb) == 4 * 3 * 255


def test_a_scaled_picture_has_the_nearest_pixels() -> None:
    two = Picture(2, 1, bytes([1, 1, 1, 2, 2, 2]))
    assert scaled(two, 5, 1).rgb[::3] == bytes([1, 1, 2, 2, 2])
    assert scaled(scaled(pattern(16, 8, 3), 48, 24), 16, 8) == pattern(16, 8, 3)


def test_a_png_names_its_size_and_holds_its_rows() -> None:
    data = png(Picture(1, 2, b"abcdef"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[16:24] == bytes([0, 0, 0, 1, 0, 0, 0, 2])
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at], "big")
    assert zlib.decompress(data[at + 4 : at + 4 + size]) == b"\0abc\0def"


def test_the_checksum_is_the_one_that_vkms_gave() -> None:
    # Read from Linux 7.2's debugfs for a CRTC of that mode and colour.
    assert checksum(plain(1024, 768, "#102030")) == 0x4E683380
