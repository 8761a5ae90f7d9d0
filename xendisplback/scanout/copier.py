# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies of pictures, and the thread in C that makes them (cffi_build/memory_copy.c, memory_copier.c).

One copier per output: a copy holds up neither the event loop, nor the GIL, nor another guest.
"""

from __future__ import annotations

import functools
import os

from xendisplback._ext import load_memory
from xendisplback.errors import HostError
from xendisplback.host import PreparedCommit
from xendisplback.protocol.formats import FORMATS, fourcc, plain

_TO_XRGB8888 = {
    "RG16": "XDB_RGB565",
    "RG24": "XDB_RGB888",
    "XR12": "XDB_XRGB4444",
    "XR15": "XDB_XRGB1555",
    "YUYV": "XDB_YUYV",
}


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
    ) -> None:
        """Addresses of the first pixels, pitches in bytes, sizes in pixels, FourCCs.

        Raises ValueError for formats that :func:`can_convert` refuses.
        """
        if not can_convert(source_format, destination_format):
            raise ValueError(f"no conversion from {source_format:#x} to {destination_format:#x}")
        memory = load_memory()
        layout = plain(FORMATS[source_format])
        same = layout == plain(FORMATS[destination_format])
        self.struct = job = memory.ffi.new("struct xdb_job *")
        job.source, job.source_pitch = source, source_pitch
        job.destination, job.destination_pitch = destination, destination_pitch
        job.units = width * layout.bytes_per_pixel if same else width
        job.rows = height
        job.conversion = (
            memory.lib.XDB_COPY if same else getattr(memory.lib, _TO_XRGB8888[layout.name])
        )

    def run(self) -> None:
        """Copy now, in this thread, without the GIL. Raises HostError EFAULT if the memory vanished."""
        memory = load_memory()
        _check(memory.lib.xdb_run(self.struct, memory.ffi.NULL))

    def run_and_digest(self) -> int:
        """As :meth:`run`; the digest of exactly the bytes that were copied."""
        memory = load_memory()
        digest = memory.ffi.new("uint64_t *")
        _check(memory.lib.xdb_run(self.struct, digest))
        return digest[0]

    def digest(self) -> int:
        """Of the picture as it is now: equal to that of a copy of the same picture."""
        memory = load_memory()
        digest = memory.ffi.new("uint64_t *")
        _check(memory.lib.xdb_digest(self.struct, digest))
        return digest[0]


def _check(result: int) -> None:
    if result != 0:
        raise HostError("the card's memory vanished while it was written to", errno=-result)


@functools.cache
def choose_copy() -> bool:
    """Measure once per process which way of copying is faster here; True: non-temporal stores."""
    return bool(load_memory().lib.xdb_choose_copy())


class Copier:
    """A thread that runs one job at a time, and submits the commit that shows it."""

    def __init__(self) -> None:
        choose_copy()
        self._memory = load_memory()
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Readable when a commit was refused or the memory vanished: nothing else announces that."""
        self._thread = self._memory.lib.xdb_copier_new(self.fd)
        if not self._thread:
            number = self._memory.ffi.errno
            os.close(self.fd)
            raise HostError("the copier's thread", call="pthread_create", errno=number)
        self._running: tuple[CopyJob, PreparedCommit] | None = None

    def start(self, job: CopyJob, commit: PreparedCommit) -> None:
        """Run ``job`` and submit ``commit``, whose flip event tells the end. The previous job has ended.

        Both must stay as they are until then.
        """
        # Referenced, because the thread reads the C memory that they own.
        self._running = (job, commit)
        self._memory.lib.xdb_copier_start(
            self._thread, job.struct, commit.function, commit.argument
        )

    def result(self) -> int:
        """Why ``fd`` is readable: a negative errno. 0 if it is not."""
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return 0
        return self.wait()

    def wait(self) -> int:
        """Until nothing runs; the last job's result, 0 or a negative errno. Blocking."""
        return self._memory.lib.xdb_copier_wait(self._thread)

    def close(self) -> None:
        """End the thread after its job. Blocking."""
        self._memory.lib.xdb_copier_free(self._thread)
        os.close(self.fd)
