# SPDX-License-Identifier: GPL-2.0-or-later
"""Digests: equal for equal pictures, wherever they lie; different after any change; of what was copied."""

from __future__ import annotations

import ctypes
import random
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xendisplback.protocol.formats import FORMATS, fourcc
from xendisplback.scanout.copy_job import CopyJob

XR24 = fourcc("XR24")
WIDTHS = st.one_of(st.integers(1, 80), st.sampled_from([333, 1366, 4095, 4096, 4097, 6001]))


class Picture:
    """Rows of random bytes at any address, with any gaps between them, and somewhere to copy them to."""

    def __init__(
        self, rows: list[bytes], name: str, *, offset: int = 0, gap: int = 0, target_gap: int = 0
    ) -> None:
        size = FORMATS[fourcc(name)].bytes_per_pixel
        width, self.pitch, self.offset = len(rows[0]) // size, len(rows[0]) + gap, offset
        filling = random.Random(offset).randbytes(gap)
        data = b"\x5a" * offset + b"".join(row + filling for row in rows)
        self.memory = ctypes.create_string_buffer(data, len(data))
        target_pitch = 4 * (width + target_gap)
        self.target = ctypes.create_string_buffer(target_pitch * len(rows))
        # It holds no references: this object must outlive its use.
        self.job = CopyJob(
            ctypes.addressof(self.memory) + offset,
            self.pitch,
            ctypes.addressof(self.target),
            target_pitch,
            width,
            len(rows),
            fourcc(name),
            XR24,
        )

    def digest(self) -> int:
        return self.job.digest()

    def flip_bits(self, row: int, at: int, bits: int) -> None:
        where = self.offset + row * self.pitch + at
        self.memory[where] = bytes([self.memory[where][0] ^ bits])


def random_rows(name: str, width: int, height: int, seed: int) -> list[bytes]:
    size = width * FORMATS[fourcc(name)].bytes_per_pixel
    source = random.Random(seed)
    return [source.randbytes(size) for _ in range(height)]


@pytest.mark.parametrize("name", [fmt.name for fmt in FORMATS.values()])
@given(
    width=WIDTHS,
    height=st.integers(1, 4),
    gaps=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    offset=st.integers(0, 17),
    target_gap=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_equal_pictures_have_equal_digests_wherever_they_lie(
    name: str, width: int, height: int, gaps: tuple[int, int], offset: int, target_gap: int
) -> None:
    rows = random_rows(name, width, height, 1)
    one = Picture(rows, name, gap=gaps[0])
    other = Picture(rows, name, gap=gaps[1], offset=offset, target_gap=target_gap)
    digest = one.digest()
    assert one.job.run_and_digest() == digest
    assert other.digest() == digest
    assert other.job.run_and_digest() == digest


@given(
    name=st.sampled_from([fmt.name for fmt in FORMATS.values()]),
    width=WIDTHS,
    height=st.integers(1, 4),
    bits=st.integers(1, 255),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_a_single_changed_byte_changes_the_digest(
    name: str, width: int, height: int, bits: int, data: st.DataObject
) -> None:
    rows = random_rows(name, width, height, 2)
    picture = Picture(rows, name)
    before = picture.digest()
    row, at = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, len(rows[0]) - 1))
    picture.flip_bits(row, at, bits)
    assert picture.digest() != before
    assert picture.job.run_and_digest() == picture.digest()
    picture.flip_bits(row, at, bits)
    assert picture.digest() == before


@given(width=st.integers(1, 200), offset=st.integers(0, 9), bits=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_what_lies_beside_the_picture_does_not_count(width: int, offset: int, bits: int) -> None:
    rows = random_rows("XR24", width, 3, 3)
    picture = Picture(rows, "XR24", offset=offset + 1, gap=5)
    before = picture.digest()
    picture.flip_bits(0, -1, bits)
    picture.flip_bits(1, -1, bits)
    picture.flip_bits(2, len(rows[0]), bits)
    assert picture.digest() == before


@given(
    width=st.integers(1, 300),
    height=st.integers(2, 40),
    colours=st.lists(st.binary(min_size=4, max_size=4), min_size=2, max_size=3, unique=True),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_the_same_rows_or_pixels_in_another_order_have_another_digest(
    width: int, height: int, colours: list[bytes], data: st.DataObject
) -> None:
    """On plain areas, as desktops are made of: a bar or a caret that moves."""
    plain, other = colours[:2]
    y, moved_y = data.draw(st.permutations(range(height)))[:2]
    rows = [plain * width] * height
    digests: set[int] = set()
    for at in (y, moved_y):
        with_bar = list(rows)
        with_bar[at] = other * width
        digests.add(Picture(with_bar, "XR24").digest())
        x = data.draw(st.integers(0, width - 1))
        if width > 1:
            with_dot = list(rows)
            with_dot[at] = plain * x + other + plain * (width - x - 1)
            digests.add(Picture(with_dot, "XR24").digest())
    assert len(digests) == (4 if width > 1 else 2)


def test_a_moving_dot_gives_as_many_digests_as_it_has_places() -> None:
    """Each at every place of a row that fills the lanes several times, over a black and over a white ground."""
    places, seen = 512, set[int]()
    for ground, dot in ((b"\0\0\0\0", b"\0\0\1\0"), (b"\xff\xff\xff\xff", b"\xff\xff\x7f\xff")):
        for x in range(places):
            row = ground * x + dot + ground * (places - x - 1)
            seen.add(Picture([row], "XR24").digest())
            for bits in (1, 128):
                # The same two dots in the same lane, at every distance.
                if x:
                    picture = Picture([row], "XR24")
                    picture.flip_bits(0, 0, bits)
                    seen.add(picture.digest())
    assert len(seen) == 2 * (places + 2 * (places - 1))


@pytest.mark.parametrize("name", ["XR24", "RG16", "YUYV"])
def test_the_digest_is_of_what_was_copied_while_the_guest_draws(name: str) -> None:
    """Else a refresh could take a picture for shown that was never copied."""
    size = FORMATS[fourcc(name)].bytes_per_pixel
    width, height = 1024, 256
    picture = Picture([bytes(width * size)] * height, name)
    copied = CopyJob(
        ctypes.addressof(picture.target), width * 4, 0, width * 4, width, height, XR24, XR24
    )
    ended = threading.Event()

    def draw() -> None:
        value = 0
        while not ended.is_set():
            value = (value + 1) % 251
            ctypes.memset(picture.memory, value, len(picture.memory))

    guest = threading.Thread(target=draw)
    guest.start()
    shown: dict[int, int] = {}
    try:
        for _ in range(300):
            digest = picture.job.run_and_digest()
            # Conversions lose bits: two sources may look the same, but one digest stands for one look.
            assert shown.setdefault(digest, copied.digest()) == copied.digest()
            if name == "XR24":
                assert digest == copied.digest()
    finally:
        ended.set()
        guest.join()
    assert len(shown) > 1
