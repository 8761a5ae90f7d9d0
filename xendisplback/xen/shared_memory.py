# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that others see too: copies in and out of a guest's, and files mapped."""

from __future__ import annotations

import mmap

from xendisplback._ext import load_flip


class FileMapping:
    """The first ``length`` bytes of the file, at ``address``; writable, shared with whoever else maps it."""

    def __init__(self, fd: int, length: int) -> None:
        """``fd`` may be closed afterwards. Raises OSError."""
        self._mapping = mmap.mmap(fd, length)
        ffi = load_flip().ffi
        self._pinned = ffi.from_buffer(self._mapping)
        self.address = int(ffi.cast("uintptr_t", self._pinned))

    def close(self) -> None:
        """Once."""
        load_flip().ffi.release(self._pinned)
        self._mapping.close()


def read_memory(address: int, size: int) -> bytes:
    """A copy of ``size`` bytes; the guest may write them meanwhile, so look at nothing but the copy."""
    c = load_flip()
    copy = c.ffi.new("char[]", size)
    c.lib.xdb_read(address, copy, size)
    return c.ffi.buffer(copy)[:]


def write_memory(address: int, data: bytes) -> None:
    load_flip().lib.xdb_write(address, data, len(data))
