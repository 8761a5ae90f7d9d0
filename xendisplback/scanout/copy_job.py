# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of pictures (cffi_build/picture_copy.c), laid out for C to make."""

from __future__ import annotations

import functools

from xendisplback._ext import load_flip
from xendisplback.errors import HostError
from xendisplback.protocol.formats import FORMATS, fourcc, plain

_TO_XRGB8888 = {
    "RG16": "XDB_RGB565",
    "RG24": "XDB_RGB888",
    "XR12": "XDB_XRGB4444",
    "XR15": "XDB_XRGB1555",
    "YUYV": "XDB_YUYV",
}
_MOST_SCALED = 65535
"""Pixels of a side that C's fixed point is exact for; modes have no more."""


def can_convert(source_format: int, destination_format: int) -> bool:
    """Between FourCCs: to the same format, to it without alpha, and from every one to XR24."""
    source, destination = FORMATS.get(source_format), FORMATS.get(destination_format)
    if source is None or destination is None:
        return False
    return plain(source) == plain(destination) or destination_format == fourcc("XR24")


class CopyJob:
    """A picture's way from one memory to another, laid out once and run any number of times."""

    def __init__(
        self,
        source: int,
        source_pitch: int,
        destination: int,
        destination_pitch: int,
        width: int,
        height: int,
        source_format: int,
        destination_format: int,
        *,
        destination_width: int | None = None,
        destination_height: int | None = None,
    ) -> None:
        """Addresses of the first pixels, pitches in bytes, sizes in pixels, FourCCs.

        Where the destination's size is another one than the source's, each of its pixels is the nearest of the
        source's. Raises ValueError for formats that :func:`can_convert` refuses, for scaling to another format
        than XR24, and for scaling from or to a side of 0 or of more than 65535.
        """
        if not can_convert(source_format, destination_format):
            raise ValueError(f"no conversion from {source_format:#x} to {destination_format:#x}")
        c = load_flip()
        layout = plain(FORMATS[source_format])
        same = layout == plain(FORMATS[destination_format])
        self.struct = job = c.ffi.new("struct xdb_job *")
        job.source, job.source_pitch = source, source_pitch
        job.destination, job.destination_pitch = destination, destination_pitch
        job.units = width * layout.bytes_per_pixel if same else width
        job.rows = height
        scaled = (
            width if destination_width is None else destination_width,
            height if destination_height is None else destination_height,
        )
        if scaled != (width, height):
            _check_scaling(destination_format, width, height, *scaled)
            job.scaled_width, job.scaled_rows = scaled
        job.conversion = c.lib.XDB_COPY if same else getattr(c.lib, _TO_XRGB8888[layout.name])

    def run(self) -> None:
        """Copy now, in this thread, without the GIL. Raises HostError EFAULT if the memory vanished."""
        c = load_flip()
        _check(c.lib.xdb_run(self.struct, c.ffi.NULL))

    def run_and_digest(self) -> int:
        """As :meth:`run`; the digest of exactly the bytes that were copied."""
        c = load_flip()
        digest = c.ffi.new("uint64_t *")
        _check(c.lib.xdb_run(self.struct, digest))
        return digest[0]

    def digest(self) -> int:
        """Of the picture as it is now: equal to that of a copy of the same picture."""
        c = load_flip()
        digest = c.ffi.new("uint64_t *")
        _check(c.lib.xdb_digest(self.struct, digest))
        return digest[0]


def _check_scaling(destination_format: int, *sides: int) -> None:
    if destination_format != fourcc("XR24"):
        raise ValueError(f"pictures are scaled to XR24 only, not to {destination_format:#x}")
    if not all(0 < side <= _MOST_SCALED for side in sides):
        raise ValueError(f"pictures of sides {sides} can't be scaled")


def _check(result: int) -> None:
    if result != 0:
        raise HostError("the card's memory vanished while it was written to", errno=-result)


@functools.cache
def choose_copy() -> bool:
    """Measure once per process which way of copying is faster here; True: non-temporal stores."""
    return bool(load_flip().lib.xdb_choose_copy())
