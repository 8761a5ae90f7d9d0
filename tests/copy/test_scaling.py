# SPDX-License-Identifier: GPL-2.0-or-later
"""Scaled copies in C against a slow reference: each pixel is the one nearest to its middle."""

from __future__ import annotations

import ctypes
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.copy.test_conversion import REFERENCE
from xendisplback.protocol.formats import FORMATS, fourcc
from xendisplback.scanout.copy_job import CopyJob

XR24 = fourcc("XR24")
PORTION = 4096
"""Pixels of a row that C takes at once; a longer row is taken in portions of half of that."""


def nearest(at: int, source: int, destination: int) -> int:
    return (2 * at + 1) * source // (2 * destination)


class Scaled:
    """A picture of random bytes, and where it is scaled to."""

    def __init__(
        self,
        name: str,
        source: tuple[int, int],
        destination: tuple[int, int],
        *,
        offset: int = 0,
        gap: int = 0,
        target_gap: int = 0,
    ) -> None:
        self.name, self.source, self.destination = name, source, destination
        self.row = source[0] * FORMATS[fourcc(name)].bytes_per_pixel
        self.pitch, self.offset = self.row + gap, offset
        self.target_pitch = 4 * (destination[0] + target_gap)
        size = offset + self.pitch * source[1]
        data = random.Random(str((name, source, destination))).randbytes(size)
        self.memory = ctypes.create_string_buffer(data, size)
        target = b"\xa5" * (self.target_pitch * destination[1] + 64)
        self.target = ctypes.create_string_buffer(target, len(target))

    def job(self, destination: tuple[int, int] | None = None) -> CopyJob:
        width, height = destination or self.destination
        return CopyJob(
            ctypes.addressof(self.memory) + self.offset,
            self.pitch,
            ctypes.addressof(self.target),
            self.target_pitch,
            *self.source,
            fourcc(self.name),
            XR24,
            destination_width=width,
            destination_height=height,
        )

    def expected(self) -> bytearray:
        (width, height), (to_width, to_height) = self.source, self.destination
        source, target = self.memory.raw, bytearray(self.target.raw)
        for y in range(to_height):
            start = self.offset + nearest(y, height, to_height) * self.pitch
            row = REFERENCE[self.name](source[start : start + self.row])
            for x in range(to_width):
                at = y * self.target_pitch + 4 * x
                target[at : at + 3] = row[nearest(x, width, to_width)]
        return target

    def written(self) -> bytearray:
        """Without what the fourth bytes of its pixels are, which nobody sees."""
        written, before = bytearray(self.target.raw), b"\xa5" * len(self.target)
        for y in range(self.destination[1]):
            start, end = y * self.target_pitch, y * self.target_pitch + 4 * self.destination[0]
            written[start + 3 : end : 4] = before[start + 3 : end : 4]
        return written


@pytest.mark.parametrize("name", REFERENCE)
@given(
    source=st.tuples(st.integers(1, 70), st.integers(1, 6)),
    destination=st.tuples(st.integers(1, 150), st.integers(1, 14)),
    offset=st.integers(0, 17),
    gap=st.integers(0, 9),
    target_gap=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_each_pixel_is_the_nearest_and_nothing_else_is_written(
    name: str,
    source: tuple[int, int],
    destination: tuple[int, int],
    offset: int,
    gap: int,
    target_gap: int,
) -> None:
    for digested in (False, True):
        picture = Scaled(name, source, destination, offset=offset, gap=gap, target_gap=target_gap)
        expected = picture.expected()
        if digested:
            picture.job().run_and_digest()
        else:
            picture.job().run()
        assert picture.written() == expected


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("width", [PORTION - 1, PORTION, PORTION + 1, 2 * PORTION + 1, 65535])
@pytest.mark.parametrize("scaled", [1, 1366, 4095, PORTION + 3, 65535])
def test_rows_of_any_length_are_scaled_exactly(name: str, width: int, scaled: int) -> None:
    picture = Scaled(name, (width, 2), (scaled, 3))
    expected = picture.expected()
    picture.job().run_and_digest()
    assert picture.written() == expected


def test_as_many_rows_as_can_be_are_scaled_exactly() -> None:
    for heights in ((65535, 65534), (65534, 65535), (65535, 2)):
        picture = Scaled("XR24", (1, heights[0]), (2, heights[1]))
        expected = picture.expected()
        picture.job().run()
        assert picture.written() == expected


@pytest.mark.parametrize("name", [fmt.name for fmt in FORMATS.values()])
@given(
    source=st.tuples(st.integers(1, 200), st.integers(1, 6)),
    destination=st.tuples(st.integers(1, 200), st.integers(1, 6)),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_the_digest_is_the_pictures_own_whatever_its_scale(
    name: str, source: tuple[int, int], destination: tuple[int, int], data: st.DataObject
) -> None:
    """A mirrored picture is digested on its way to one output, and looked at on behalf of all."""
    size = tuple(map(max, source, destination))
    picture = Scaled(name, source, (size[0], size[1]), offset=data.draw(st.integers(0, 9)))
    plain, scaled = picture.job(source), picture.job(destination)
    before = plain.digest()
    assert plain.run_and_digest() == before
    assert scaled.run_and_digest() == before
    assert scaled.digest() == before
    y = data.draw(st.integers(0, source[1] - 1))
    at = picture.offset + y * picture.pitch + data.draw(st.integers(0, picture.row - 1))
    picture.memory[at] = bytes([picture.memory[at][0] ^ data.draw(st.integers(1, 255))])
    assert scaled.run_and_digest() == scaled.digest() == plain.digest() != before


@pytest.mark.parametrize("name", ["XR24", "RG16", "YUYV"])
@pytest.mark.parametrize("destination", [(700, 400), (1500, 100), (1024, 257)])
def test_the_digest_is_of_what_was_scaled_while_the_guest_draws(
    name: str, destination: tuple[int, int]
) -> None:
    picture = Scaled(name, (1024, 256), destination)
    job, ended = picture.job(), threading.Event()

    def draw() -> None:
        value = 0
        while not ended.is_set():
            value = (value + 1) % 251
            ctypes.memset(picture.memory, value, len(picture.memory))

    guest = threading.Thread(target=draw)
    guest.start()
    shown: dict[int, bytes] = {}
    try:
        for _ in range(100):
            digest = job.run_and_digest()
            look = bytes(picture.target)
            # What lies between may differ where rows are left out; one digest stands for one look.
            assert shown.setdefault(digest, look) == look
    finally:
        ended.set()
        guest.join()
    assert len(shown) > 1


def test_a_destination_of_the_same_size_is_a_plain_copy() -> None:
    picture = Scaled("RG16", (40, 3), (40, 3))
    assert picture.job().struct.scaled_rows == 0
    code = fourcc("RG16")
    CopyJob(0, 0, 0, 0, 40, 3, code, code, destination_width=40, destination_height=3)


def test_what_cannot_be_scaled() -> None:
    code = fourcc("RG16")
    with pytest.raises(ValueError, match="XR24 only"):
        CopyJob(0, 0, 0, 0, 40, 3, code, code, destination_width=41)
    for source, scaled in (((40, 3), (0, 3)), ((40, 3), (40, 65536)), ((0, 3), (4, 3))):
        with pytest.raises(ValueError, match="can't be scaled"):
            CopyJob(
                *(0, 0, 0, 0, *source, XR24, XR24),
                destination_width=scaled[0],
                destination_height=scaled[1],
            )
