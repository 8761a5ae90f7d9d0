# SPDX-License-Identifier: GPL-2.0-or-later
"""Which mode shows a picture, and where in it the picture goes."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xendisplback.kms.geometry import Rect
from xendisplback.kms.mode import Mode
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status
from xendisplback.scanout.fit import (
    Fit,
    ModeWish,
    choose_mode,
    parse_mode,
    place,
    preferred_mode,
    refresh_rate,
)

INTERLACED = 1 << 4
ALL_FITS: tuple[Fit, ...] = get_args(Fit)


def mode(
    width: int, height: int, rate: int = 60, *, flags: int = 0, preferred: bool = False
) -> Mode:
    kind = Mode.TYPE_PREFERRED if preferred else 0
    size = f"{width}x{height}"
    return Mode(65000, width, 0, 0, 0, 0, height, 0, 0, 0, 0, rate, flags, kind, size)


MODES = [mode(1920, 1080), mode(1024, 768, 75), mode(1024, 768), mode(800, 600)]
sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
wishes = st.builds(
    ModeWish,
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.none() | st.integers(1, 1_000_000).map(lambda thousandths: thousandths / 1000),
)
some_modes = st.lists(
    st.builds(
        mode,
        st.sampled_from([640, 800, 1024, 1920]),
        st.sampled_from([480, 600, 1080]),
        st.sampled_from([24, 50, 60, 75]),
        flags=st.sampled_from([0, INTERLACED]),
        preferred=st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


# As the operator writes it


def test_a_mode_is_written_as_size_or_as_size_and_refresh() -> None:
    assert parse_mode("1920x1080@60") == ModeWish(1920, 1080, 60.0)
    assert parse_mode("1920x1080@59.94") == ModeWish(1920, 1080, 59.94)
    assert parse_mode("640x480") == ModeWish(640, 480, None)


@given(wishes)
def test_what_is_printed_is_what_is_read(wish: ModeWish) -> None:
    assert parse_mode(str(wish)) == wish


@pytest.mark.parametrize(
    "text",
    [
        *("", "1920", "1920x", "x1080", "0x480", "640x0", "65536x480", "-640x480", " 640x480"),
        *("1920x1080@", "640x480@0", "640x480@60Hz", "640x480@1001", "640x480@nan", "640x480@6e1"),
        *("٣x480", "640X480", "640x480\n"),
    ],
)
def test_what_is_no_mode_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match='"1920x1080@60"'):
        parse_mode(text)


# The mode for a picture


@pytest.mark.parametrize("fit", ALL_FITS)
def test_the_equal_mode_nearest_to_60_hz_is_taken(fit: Fit) -> None:
    assert choose_mode(MODES, 1024, 768, fit) is MODES[2]


@pytest.mark.parametrize("fit", ALL_FITS)
def test_the_refresh_rate_that_was_asked_for_is_taken(fit: Fit) -> None:
    assert choose_mode(MODES, 1024, 768, fit, refresh=80) is MODES[1]


@pytest.mark.parametrize("fit", ["center", "letterbox", "scale"])
def test_without_an_equal_mode_the_smallest_that_holds_the_picture(fit: Fit) -> None:
    assert choose_mode(MODES, 640, 480, fit) is MODES[3]


@pytest.mark.parametrize("fit", ["letterbox", "scale"])
def test_a_picture_larger_than_every_mode_is_scaled_into_the_largest(fit: Fit) -> None:
    assert choose_mode(MODES, 2560, 1440, fit) is MODES[0]


def test_unscaled_a_picture_larger_than_every_mode_is_refused_with_what_to_do() -> None:
    expected = r'2560x1440.*1920x1080, 1024x768, 800x600.*fit = "letterbox"'
    with pytest.raises(RequestError, match=expected) as caught:
        choose_mode(MODES, 2560, 1440, "center")
    assert caught.value.status is Status.EINVAL


def test_exact_takes_no_other_size() -> None:
    with pytest.raises(RequestError, match=r"no mode is 640x480.*800x600") as caught:
        choose_mode(MODES, 640, 480, "exact")
    assert caught.value.status is Status.EINVAL


@pytest.mark.parametrize("fit", ALL_FITS)
def test_a_monitor_without_modes_is_refused(fit: Fit) -> None:
    with pytest.raises(RequestError, match="is one connected"):
        choose_mode([], 640, 480, fit)
    with pytest.raises(RequestError, match="is one connected"):
        preferred_mode([], 60)


@pytest.mark.parametrize("fit", ALL_FITS)
def test_a_configured_mode_is_taken_whatever_the_picture(fit: Fit) -> None:
    assert choose_mode(MODES, 4000, 3000, fit, ModeWish(1024, 768, 75)) is MODES[1]
    assert choose_mode(MODES, 800, 600, fit, ModeWish(1024, 768), 75) is MODES[1]
    assert choose_mode(MODES, 800, 600, fit, ModeWish(1024, 768)) is MODES[2]


def test_a_configured_mode_that_the_monitor_lacks_is_refused_with_the_modes_named() -> None:
    with pytest.raises(RequestError, match=r"1280x720.*1920x1080, 1024x768, 800x600") as caught:
        choose_mode(MODES, 800, 600, "scale", ModeWish(1280, 720))
    assert caught.value.status is Status.EINVAL
    assert "letterbox" not in str(caught.value)


def test_interlaced_modes_are_taken_where_nothing_else_will_do() -> None:
    interlaced, larger = mode(1920, 1080, flags=INTERLACED), mode(2560, 1440)
    assert choose_mode([interlaced, larger], 1920, 1080, "center") is larger
    assert choose_mode([interlaced, larger], 1920, 1080, "exact") is interlaced
    assert choose_mode([interlaced, MODES[3]], 1920, 1080, "center") is interlaced
    assert choose_mode([interlaced, MODES[3]], 1920, 1080, "letterbox") is MODES[3]
    assert choose_mode([interlaced, MODES[3]], 1, 1, "scale", ModeWish(1920, 1080)) is interlaced
    assert preferred_mode([interlaced], 60) is interlaced


def test_of_two_alike_the_preferred_one_is_taken() -> None:
    alike = [mode(800, 600), mode(800, 600, preferred=True), mode(800, 600)]
    assert choose_mode(alike, 800, 600, "center") is alike[1]


def test_modes_a_thousandth_apart_are_told_apart_by_their_clocks() -> None:
    """CEA-861 has 1920x1080 with 148.5 MHz, and with that by 1.001; the kernel calls both 60 Hz."""

    def hdtv(clock: int, flags: int = 0) -> Mode:
        timing = 1920, 2008, 2052, 2200, 0, 1080, 1084, 1089, 1125, 0
        return Mode(clock, *timing, 60, flags, 0, "1920x1080")

    whole, ntsc = hdtv(148500), hdtv(148352)
    assert choose_mode([whole, ntsc], 1920, 1080, "center", parse_mode("1920x1080@59.94")) is ntsc
    assert choose_mode([ntsc, whole], 1920, 1080, "center") is whole
    assert refresh_rate(whole) == 60.0
    assert refresh_rate(hdtv(74250, INTERLACED)) == 60.0


@given(some_modes, sizes, st.sampled_from(ALL_FITS), st.none() | st.sampled_from([50.0, 75.0]))
def test_no_better_mode_is_left(
    modes: list[Mode], size: tuple[int, int], fit: Fit, refresh: float | None
) -> None:
    def holds(m: Mode) -> bool:
        return m.hdisplay >= size[0] and m.vdisplay >= size[1]

    def area(m: Mode) -> int:
        return m.hdisplay * m.vdisplay

    try:
        chosen = choose_mode(modes, *size, fit, refresh=refresh)
    except RequestError:
        assert fit in ("exact", "center")
        assert not any(holds(m) and (fit == "center" or area(m) == area_of(size)) for m in modes)
        return
    rivals = [m for m in modes if m.flags == 0] if chosen.flags == 0 else modes
    if holds(chosen):
        assert all(area(m) >= area(chosen) for m in rivals if holds(m))
    else:
        assert fit in ("letterbox", "scale")
        assert not any(holds(m) for m in rivals)
        assert all(area(m) <= area(chosen) for m in rivals)
    for m in rivals:
        if (m.hdisplay, m.vdisplay) == (chosen.hdisplay, chosen.vdisplay):
            wanted = refresh or 60
            assert abs(m.vrefresh - wanted) >= abs(chosen.vrefresh - wanted)


def area_of(size: tuple[int, int]) -> int:
    return size[0] * size[1]


# The mode for no picture


def test_the_monitors_preferred_mode_is_taken_else_the_largest() -> None:
    modes = [*MODES, mode(1280, 1024, 75, preferred=True), mode(1280, 1024, 60)]
    assert preferred_mode(modes, None) is modes[-2]
    assert preferred_mode(modes, 60) is modes[-1]
    assert preferred_mode(MODES, 60) is MODES[0]


def test_an_interlaced_preferred_mode_gives_way() -> None:
    modes = [mode(1920, 1080, flags=INTERLACED, preferred=True), mode(1280, 720)]
    assert preferred_mode(modes, 60) is modes[1]


# Where the picture goes

areas = st.builds(
    Rect, st.integers(0, 99), st.integers(0, 99), st.integers(1, 4096), st.integers(1, 4096)
)


def is_centered(inner: Rect, area: Rect) -> bool:
    left, top = inner.x - area.x, inner.y - area.y
    right, bottom = area.width - left - inner.width, area.height - top - inner.height
    return 0 <= right - left <= 1 and 0 <= bottom - top <= 1


@given(areas, sizes)
def test_letterbox_is_the_largest_with_the_same_proportions(
    area: Rect, size: tuple[int, int]
) -> None:
    inner, (width, height) = place("letterbox", area, *size), size
    assert area.covers(inner)
    assert is_centered(inner, area)
    assert inner.width == area.width or inner.height == area.height
    assert min(inner.size) >= 1
    # To within half a pixel, unless less than one would be left.
    if min(inner.size) > 1:
        assert abs(inner.width * height - inner.height * width) * 2 <= max(width, height)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), Rect(240, 0, 1440, 1080)),
        ((3840, 2160), Rect(0, 0, 1920, 1080)),
        ((1920, 800), Rect(0, 140, 1920, 800)),
        ((4000, 1), Rect(0, 539, 1920, 1)),
    ],
)
def test_letterboxed_pictures_on_a_full_hd_screen(size: tuple[int, int], expected: Rect) -> None:
    assert place("letterbox", Rect(0, 0, 1920, 1080), *size) == expected


@given(areas, sizes)
def test_scaled_pictures_fill_the_area(area: Rect, size: tuple[int, int]) -> None:
    assert place("scale", area, *size) == area


@given(areas, st.data())
def test_unscaled_pictures_are_in_the_middle(area: Rect, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, area.width))
    height = data.draw(st.integers(1, area.height))
    inner = place("center", area, width, height)
    assert inner.size == (width, height)
    assert area.covers(inner)
    assert is_centered(inner, area)


@given(areas, sizes)
def test_unscaled_pictures_that_are_too_large_are_refused_with_both_sizes(
    area: Rect, size: tuple[int, int]
) -> None:
    assume(size[0] > area.width or size[1] > area.height)
    both = rf"{size[0]}x{size[1]}.*{area.width}x{area.height}.*letterbox"
    for fit in ("center", "exact"):
        with pytest.raises(RequestError, match=both) as caught:
            place(fit, area, *size)
        assert caught.value.status is Status.EINVAL


def test_exact_is_for_pictures_of_the_areas_own_size() -> None:
    area = Rect(10, 20, 640, 480)
    assert place("exact", area, 640, 480) == area
    with pytest.raises(RequestError, match="differs"):
        place("exact", area, 639, 480)
