# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories and layouts: whatever a guest writes, every byte that is read lies in what it granted."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.protocol.directory import (
    REFS_PER_PAGE,
    DirectoryFill,
    DirectoryWalk,
    directory_pages,
    encode_directory,
)
from xendisplback.protocol.displif import REQ_ALLOC, DbufCreate, FbAttach
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.formats import FORMATS, Format, fourcc, fourcc_name, plain
from xendisplback.protocol.layout import (
    ALIGNMENTS,
    MAX_PAGES,
    MAX_SIDE,
    PAGE,
    FrameLayout,
    check_create,
    frame_layout,
    other_layouts,
    pages_needed,
)
from xendisplback.protocol.status import Status

u32 = st.integers(0, 0xFFFFFFFF)


def walk(first: int, pages: int, memory: dict[int, bytes]) -> list[int]:
    """The references found, with a bound on the pages looked at."""
    directory = DirectoryWalk(first, pages)
    looked = 0
    while directory.next_page is not None:
        looked += 1
        assert looked <= directory_pages(pages)
        directory.feed(memory[directory.next_page])
    return list(directory.grefs)


@given(st.integers(1, 5000))
def test_a_frontend_s_directory_is_read_in_order(pages: int) -> None:
    refs = list(range(100_000, 100_000 + pages))
    chain = list(range(1, 1 + directory_pages(pages)))
    memory = dict(zip(chain, encode_directory(chain, refs), strict=True))
    assert walk(chain[0], pages, memory) == refs


@given(
    first=st.integers(0, 5),
    pages=st.integers(1, 3 * REFS_PER_PAGE),
    following=st.lists(st.integers(0, 5), min_size=5, max_size=5),
    entry=st.tuples(st.integers(0, 2), st.integers(0, REFS_PER_PAGE - 1), u32),
)
def test_any_chain_gives_exactly_the_pages_or_einval(
    first: int, pages: int, following: list[int], entry: tuple[int, int, int]
) -> None:
    memory: dict[int, bytes] = {}
    for number in range(1, 6):
        refs = list(range(number * 10_000, number * 10_000 + REFS_PER_PAGE))
        if entry[0] + 1 == number:
            refs[entry[1]] = entry[2]
        memory[number] = struct.pack("<1024I", following[number - 1], *refs)
    try:
        found = walk(first, pages, memory)
    except RequestError as error:
        assert error.status is Status.EINVAL
    else:
        assert len(found) == pages == len(set(found))
        assert 0 not in found


@pytest.mark.parametrize(
    ("memory", "named"),
    [
        ({1: struct.pack("<1024I", 1, *range(10, 1033))}, "1, is used twice"),
        ({1: struct.pack("<1024I", 0, *range(10, 1033))}, "is 0"),
        ({1: struct.pack("<1024I", 2, *[7] * 1023)}, "7, is used twice"),
        ({1: struct.pack("<1024I", 2, 7, *[0] * 1022)}, "is 0"),
    ],
)
def test_what_is_wrong_with_a_directory_is_named(memory: dict[int, bytes], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        walk(1, 2000, memory)


def fill(first: int, refs: list[int], memory: dict[int, bytearray]) -> None:
    """As the daemon does, with a bound on the pages touched."""
    directory = DirectoryFill(first, refs)
    touched = 0
    while directory.next_page is not None:
        touched += 1
        assert touched <= directory_pages(len(refs))
        page = memory[directory.next_page]
        listed = directory.feed(bytes(page))
        page[directory.FIRST : directory.FIRST + len(listed)] = listed


@given(st.integers(1, 3000))
def test_our_references_fill_exactly_the_guest_s_directory(pages: int) -> None:
    refs = list(range(100_000, 100_000 + pages))
    chain = list(range(1, 1 + directory_pages(pages)))
    # What the guest left in the entries that are not ours to write must stay.
    empty = encode_directory(chain, [1] * len(chain) * REFS_PER_PAGE)
    memory = {ref: bytearray(page) for ref, page in zip(chain, empty, strict=True)}
    fill(chain[0], refs, memory)
    listed = [entry for ref in chain for entry in struct.unpack("<1024I", memory[ref])[1:]]
    assert listed[:pages] == refs
    assert set(listed[pages:]) <= {1}
    assert walk(chain[0], pages, {ref: bytes(page) for ref, page in memory.items()}) == refs


@given(st.integers(0, 5), st.integers(1, 3 * REFS_PER_PAGE), st.lists(u32, min_size=5, max_size=5))
def test_no_chain_makes_us_write_outside_of_it(
    first: int, pages: int, following: list[int]
) -> None:
    memory = {
        ref: bytearray(struct.pack("<1024I", following[ref - 1] % 6, *[0] * 1023))
        for ref in range(1, 6)
    }
    try:
        fill(first, list(range(1000, 1000 + pages)), memory)
    except RequestError as error:
        assert error.status is Status.EINVAL
    assert all(len(page) == PAGE for page in memory.values())


def create(
    width: int, height: int, bpp: int, size: int, ofs: int = 0, flags: int = 0, ref: int = 8
) -> DbufCreate:
    return DbufCreate(1, 1, width, height, bpp, size, flags, ref, ofs)


formats = st.sampled_from(list(FORMATS.values()))


def laid_out(
    width: int, height: int, fmt: Format, pitch: int, whole_pages: bool, imported: bool
) -> FrameLayout:
    """What is made of the buffer of a frontend that uses ``pitch``."""
    size = pitch * height
    if whole_pages:
        size = pages_needed(size) * PAGE
    bits = 8 * fmt.bytes_per_pixel
    request = create(0, 0, 0, size) if imported else create(width, height, bits, size)
    assert check_create(request) == pages_needed(size)
    return frame_layout(request, FbAttach(1, 1, 2, width, height, fmt.fourcc))


@given(st.integers(1, 4095), st.integers(1, 2047), formats, st.booleans(), st.booleans())
def test_the_pitch_of_every_linux_frontend_is_found(
    width: int, height: int, fmt: Format, newer: bool, imported: bool
) -> None:
    row = width * fmt.bytes_per_pixel
    pitch = -(-row // 8) * 8 if newer else row
    assert laid_out(width, height, fmt, pitch, newer, imported).pitch == pitch


@given(
    st.integers(1, 4095),
    st.integers(512, 2047),
    formats,
    st.sampled_from(ALIGNMENTS),
    st.booleans(),
)
def test_from_512_rows_on_every_frontend_s_pitch_is_found(
    width: int, height: int, fmt: Format, alignment: int, whole_pages: bool
) -> None:
    """Below, or with less than 8 bytes of padding, rounding to pages can hide it."""
    row = width * fmt.bytes_per_pixel
    pitch = -(-row // alignment) * alignment
    if alignment < 8 and whole_pages:
        return
    found = laid_out(width, height, fmt, pitch, whole_pages, False).pitch
    assert found == pitch


@given(u32, u32, u32, u32, u32, u32, u32, st.sampled_from(list(FORMATS)), u32)
def test_no_numbers_make_a_layout_that_leaves_the_buffer(
    width: int,
    height: int,
    bpp: int,
    size: int,
    ofs: int,
    fb_width: int,
    fb_height: int,
    code: int,
    flags: int,
) -> None:
    request = create(width, height, bpp, size, ofs, flags & REQ_ALLOC)
    try:
        pages = check_create(request)
        layout = frame_layout(request, FbAttach(1, 1, 2, fb_width, fb_height, code))
    except RequestError as error:
        assert error.status is Status.EINVAL
        return
    end = layout.offset + layout.pitch * (layout.height - 1)
    assert end + layout.width * layout.format.bytes_per_pixel <= size <= pages * PAGE


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (create(8, 8, 32, 0), "buffer_sz 0"),
        (create(8, 8, 32, MAX_PAGES * PAGE + 1), str(MAX_PAGES * PAGE)),
        (create(8, 8, 32, 256, ref=0), "gref_directory is 0"),
        (create(0, 0, 0, 8192, 4096), "data_ofs 4096"),
        (create(0, 0, 0, 8192, 8, REQ_ALLOC), "with REQ_ALLOC"),
        (create(0, 0, 0, 8192, flags=REQ_ALLOC), "REQ_ALLOC without width"),
        (create(0, 8, 32, 256), "0x8"),
        (create(8, 0, 32, 256), "8x0"),
        (create(8, MAX_SIDE + 1, 32, 256), "8x16385"),
        (create(MAX_SIDE + 1, 8, 32, 256), "16385x8"),
        (create(8, 8, 12, 256), "bpp 12"),
        (create(8, 8, 32, 255), "buffer_sz 255"),
        (create(800, 600, 32, 4096), "buffer_sz 4096"),
    ],
)
def test_a_bad_create_is_refused_by_name(request_: DbufCreate, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        check_create(request_)


@pytest.mark.parametrize(
    ("width", "height", "code", "named"),
    [
        (8, 8, fourcc("NV12"), "NV12 is unknown"),
        (8, 8, 0x01020304, "0x01020304 is unknown"),
        (9, 8, fourcc("XR24"), "a row of 36"),
        (8, 9, fourcc("XR24"), "needs 288 bytes"),
        (0, 8, fourcc("XR24"), "0x8"),
    ],
)
def test_a_bad_attach_is_refused_by_name(width: int, height: int, code: int, named: str) -> None:
    with pytest.raises(RequestError, match=named):
        frame_layout(create(8, 8, 32, 256), FbAttach(1, 1, 2, width, height, code))


def test_an_imported_picture_must_end_inside_the_buffer_with_its_offset() -> None:
    request = create(0, 0, 0, 256, 16)
    with pytest.raises(RequestError, match="needs 272 bytes"):
        frame_layout(request, FbAttach(1, 1, 2, 8, 8, fourcc("XR24")))


@pytest.mark.parametrize("size", [1024 * 768 * 4 + 16, (768 + 1) * PAGE])
def test_the_size_of_an_imported_buffer_may_count_the_offset(size: int) -> None:
    """The picture fills 768 pages, so that with an offset it ends in the next one."""
    request = create(0, 0, 0, size, 16)
    assert check_create(request) == 769
    layout = frame_layout(request, FbAttach(1, 1, 2, 1024, 768, fourcc("XR24")))
    assert (layout.pitch, layout.offset) == (4096, 16)


@pytest.mark.parametrize(
    ("request_", "pages"),
    [
        (create(8, 8, 8, 64), 1),
        (create(8, 8, 32, 256, flags=REQ_ALLOC), 1),
        (create(0, 0, 0, 8192, PAGE - 1), 2),
        (create(0, 0, 0, MAX_PAGES * PAGE), MAX_PAGES),
        (create(MAX_SIDE, 1, 8, MAX_SIDE), 4),
        (create(1, MAX_SIDE, 8, MAX_SIDE), 4),
    ],
)
def test_a_create_at_the_limit_is_taken(request_: DbufCreate, pages: int) -> None:
    assert check_create(request_) == pages


def test_a_small_imported_buffer_may_have_other_pitches_too() -> None:
    request = create(0, 0, 0, PAGE)
    layout = frame_layout(request, FbAttach(1, 1, 2, 30, 8, fourcc("XR24")))
    assert layout.pitch == 120
    assert [other.pitch for other in other_layouts(request, layout)] == [128, 256]


@given(st.integers(1, 600), st.integers(1, 600), st.sampled_from(list(FORMATS)), st.integers(0, 8))
def test_other_pitches_explain_the_size_and_stay_inside(
    width: int, height: int, code: int, ofs: int
) -> None:
    row = width * FORMATS[code].bytes_per_pixel
    request = create(0, 0, 0, pages_needed(ofs + row * height) * PAGE, ofs)
    layout = frame_layout(request, FbAttach(1, 1, 2, width, height, code))
    for other in other_layouts(request, layout):
        assert other.pitch > layout.pitch
        assert other.offset + other.pitch * (height - 1) + row <= request.buffer_sz
        needed = {pages_needed(start + other.pitch * height) * PAGE for start in (0, ofs)}
        assert request.buffer_sz in needed


def test_what_came_with_its_width_has_one_pitch() -> None:
    request = create(30, 8, 32, PAGE)
    layout = frame_layout(request, FbAttach(1, 1, 2, 30, 8, fourcc("XR24")))
    assert other_layouts(request, layout) == []


def test_format_names() -> None:
    assert fourcc_name(fourcc("XR24")) == "XR24"
    assert fourcc_name(0) == "0x00000000"
    assert plain(FORMATS[fourcc("AR12")]).name == "XR12"
    assert plain(FORMATS[fourcc("RG16")]).name == "RG16"
