# SPDX-License-Identifier: GPL-2.0-or-later
"""How a picture lies in a buffer: sizes, offset, and the pitch, which displif does not transmit.

Python's integers do not overflow, so every sum here is exact whatever the guest wrote.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

from xendisplback.protocol.displif import REQ_ALLOC, DbufCreate, FbAttach
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.formats import FORMATS, Format, fourcc_name
from xendisplback.protocol.status import Status

PAGE: Final = 4096
MAX_PAGES: Final = 16384
"""64 MiB, twice the largest frame buffer that xen_drm_front can ask for (4095 x 2047 x 4 bytes)."""
MAX_SIDE: Final = 16384
"""Pixels; the kernel's own limit for a framebuffer's sides is no larger on any card with KMS."""
ALIGNMENTS: Final = (4, 8, 16, 32, 64, 128, 256)
"""What a pitch may be rounded up to, bytes."""


def pages_needed(size: int) -> int:
    return -(-size // PAGE)


def check_create(create: DbufCreate) -> int:
    """The pages of the buffer that ``create`` asks for.

    Either all of width, height, bpp are given, and buffer_sz holds such a picture, or none is: an imported
    buffer, whose picture FB_ATTACH describes. Raises RequestError EINVAL, naming value and limit.
    """
    size, pages = create.buffer_sz, pages_needed(create.buffer_sz)
    if not 0 < pages <= MAX_PAGES:
        raise _invalid(f"DBUF_CREATE: buffer_sz {size}, must be 1 to {MAX_PAGES * PAGE}")
    if create.gref_directory == 0:
        raise _invalid("DBUF_CREATE: gref_directory is 0")
    if create.data_ofs >= min(PAGE, size):
        raise _invalid(
            f"DBUF_CREATE: data_ofs {create.data_ofs} is not within the first page of {size} bytes"
        )
    if create.flags & REQ_ALLOC and create.data_ofs:
        raise _invalid(f"DBUF_CREATE: data_ofs {create.data_ofs} with REQ_ALLOC")
    if create.width or create.height or create.bpp:
        _check_sides("DBUF_CREATE", create.width, create.height)
        if create.bpp not in (8, 16, 24, 32):
            raise _invalid(f"DBUF_CREATE: bpp {create.bpp}, must be 8, 16, 24 or 32")
        buffer_pitch(create)
    elif create.flags & REQ_ALLOC:
        raise _invalid("DBUF_CREATE: REQ_ALLOC without width, height and bpp")
    return pages


@dataclass(frozen=True, slots=True)
class FrameLayout:
    """``height`` rows of ``width`` pixels; row n begins at byte ``offset + n * pitch`` of the buffer."""

    width: int
    height: int
    pitch: int
    offset: int
    format: Format


def buffer_pitch(create: DbufCreate) -> int:
    """The pitch of a buffer whose width, height and bpp :func:`check_create` has accepted."""
    return _infer_pitch("DBUF_CREATE", create, create.width * create.bpp // 8, create.height)


def frame_layout(create: DbufCreate, attach: FbAttach) -> FrameLayout:
    """Where the pixels of a framebuffer lie, every one of them inside the buffer.

    Raises RequestError EINVAL, naming value and limit.
    """
    fmt = FORMATS.get(attach.pixel_format)
    if fmt is None:
        raise _invalid(f"FB_ATTACH: pixel format {fourcc_name(attach.pixel_format)} is unknown")
    _check_sides("FB_ATTACH", attach.width, attach.height)
    row = attach.width * fmt.bytes_per_pixel
    if create.width:
        pitch = _infer_pitch("FB_ATTACH", create, create.width * create.bpp // 8, create.height)
        if row > pitch:
            raise _invalid(f"FB_ATTACH: a row of {row} bytes in a buffer with rows of {pitch}")
    else:
        pitch = _infer_pitch("FB_ATTACH", create, row, attach.height)
    needed = create.data_ofs + pitch * (attach.height - 1) + row
    if needed > create.buffer_sz:
        raise _invalid(
            f"FB_ATTACH: {attach.width}x{attach.height} {fmt.name} needs {needed} bytes,"
            f" the buffer has {create.buffer_sz}"
        )
    return FrameLayout(attach.width, attach.height, pitch, create.data_ofs, fmt)


def other_layouts(create: DbufCreate, layout: FrameLayout) -> list[FrameLayout]:
    """Layouts with larger pitches that explain an imported buffer's size as well as ``layout`` does.

    None for a buffer that came with its width: what its guest draws is known then.
    """
    if create.width:
        return []
    row = layout.width * layout.format.bytes_per_pixel
    pitches = {-(-row // alignment) * alignment for alignment in ALIGNMENTS}
    return [
        dataclasses.replace(layout, pitch=pitch)
        for pitch in sorted(pitches)
        if pitch > layout.pitch
        and any(
            create.buffer_sz in (size, _whole_pages(size))
            for size in (pitch * layout.height, create.data_ofs + pitch * layout.height)
        )
        and layout.offset + pitch * (layout.height - 1) + row <= create.buffer_sz
    ]


def _infer_pitch(operation: str, create: DbufCreate, row: int, height: int) -> int:
    """The pitch that explains buffer_sz, which may count data_ofs or not: displif.h leaves that open."""
    for start in (create.data_ofs, 0):
        pitch = _explain(create.buffer_sz, start, row, height)
        if pitch is not None:
            return pitch
    raise _invalid(
        f"{operation}: buffer_sz {create.buffer_sz} is not what {height} rows of {row} bytes need"
        f" ({create.data_ofs + row * height}), nor with rows aligned to 4 to 256 bytes"
    )


def _explain(size: int, start: int, row: int, height: int) -> int | None:
    """The pitch with which ``height`` rows from ``start`` on fill ``size`` bytes.

    Rounding to whole pages can hide the padding of up to 511 rows, so the frontends that are known come first:
    Linux up to 6.1 (no padding, no rounding), later ones (8 bytes, whole pages).
    """

    def padded(alignment: int) -> int:
        return -(-row // alignment) * alignment

    if start + row * height == size:
        return row
    if _whole_pages(start + padded(8) * height) == size:
        return padded(8)
    for alignment in ALIGNMENTS:
        if start + padded(alignment) * height == size:
            return padded(alignment)
    for alignment in (1, *ALIGNMENTS):
        if _whole_pages(start + padded(alignment) * height) == size:
            return padded(alignment)
    return None


def _whole_pages(size: int) -> int:
    return pages_needed(size) * PAGE


def _check_sides(operation: str, width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise _invalid(f"{operation}: {width}x{height}, sides must be 1 to {MAX_SIDE}")


def _invalid(message: str) -> RequestError:
    return RequestError(Status.EINVAL, message)
