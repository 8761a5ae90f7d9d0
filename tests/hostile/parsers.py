# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that takes bytes of a guest, a monitor or an operator's file without I/O, from one string of bytes.

Each either takes them or refuses them with the exception that its docstring names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from tests.hostile.choices import Choices
from xendisplback.kms.uevents import parse_udev, parse_uevent
from xendisplback.protocol.directory import DirectoryFill, DirectoryWalk
from xendisplback.protocol.displif import (
    DbufCreate,
    FbAttach,
    parse_request,
    request_header,
)
from xendisplback.protocol.edid import check_edid, made_edid
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import check_create, frame_layout, other_layouts
from xendisplback.protocol.nodes import (
    NodeError,
    is_domain_name,
    parse_number,
    parse_resolution,
    parse_state,
    parse_unique_id,
    parse_version,
)
from xendisplback.scanout.layout import LayoutError, Place

PAGE = 4096


def _request(choose: Choices) -> None:
    slot = choose.bytes(64)
    request_header(slot)
    with suppress(RequestError):
        parse_request(slot, 1 + choose.below(2))


def _buffer(choose: Choices) -> None:
    """What was accepted stays within the buffer."""
    size = choose.u32
    create = DbufCreate(
        *(1, 1, size(640), size(480), size(32), size(640 * 480 * 4)), choose.below(2), 1, size(0)
    )
    attach = FbAttach(1, 1, 2, size(640), size(480), choose.pick((0x34325258, 0x36314752, size())))
    try:
        check_create(create)
        layout = frame_layout(create, attach)
    except RequestError:
        return
    for each in (layout, *other_layouts(create, layout)):
        row = each.width * each.format.bytes_per_pixel
        end = each.offset + each.pitch * (each.height - 1) + row
        assert row <= each.pitch, each
        assert end <= create.buffer_sz, each


def _directory(choose: Choices) -> None:
    """However the pages are chained, it ends, with as many references as were asked for."""
    pages = 1 + choose.below(3000)
    filled, first = choose.below(2), choose.u32(1)
    chain: DirectoryWalk | DirectoryFill
    with suppress(RequestError):
        if filled:
            chain = DirectoryFill(first, range(1, pages + 1))
        else:
            chain = DirectoryWalk(first, pages)
        for _ in range(pages):
            if chain.next_page is None:
                break
            page = b"".join(choose.u32(1, 2, 3).to_bytes(4, "little") for _ in range(8))
            chain.feed(page.ljust(PAGE, choose.bytes(1)))
        if isinstance(chain, DirectoryWalk):
            assert chain.next_page is not None or len(chain.grefs) == pages


def _node(choose: Choices) -> None:
    value = choose.bytes(choose.below(40)).decode("latin-1")
    is_domain_name(value)
    parse_state(value)
    parsers: Sequence[Callable[[str, str | None], object]] = (
        *(parse_resolution, parse_number, parse_unique_id, parse_version),
    )
    for parse in parsers:
        with suppress(NodeError):
            parse("/path", value)
    with suppress(LayoutError):
        Place.parse(value)


def _edid(choose: Choices) -> None:
    with suppress(ValueError):
        check_edid(choose.bytes(choose.below(400)))
    width, height = choose.u32(640), choose.u32(480)
    with suppress(ValueError):
        check_edid(made_edid(width, height))


def _uevent(choose: Choices) -> None:
    parse_uevent(choose.bytes(choose.below(256)), udev=False)
    parse_udev(choose.bytes(choose.below(256)))


PARSERS = (_request, _buffer, _directory, _node, _edid, _uevent)


def parse_anything(data: bytes) -> None:
    """Raises what no parser may raise."""
    choose = Choices(data)
    choose.pick(PARSERS)(choose)
