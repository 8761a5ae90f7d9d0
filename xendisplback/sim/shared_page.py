# SPDX-License-Identifier: GPL-2.0-or-later
"""A ring page as a guest has it: loads and stores with the ordering that they need."""

from __future__ import annotations

from xendisplback._ext import load_flip
from xendisplback.protocol.displif import SLOT_SIZE


class SharedPage:
    """4096 bytes at ``address``, mapped by its owner. Offsets in bytes."""

    def __init__(self, address: int) -> None:
        c = load_flip()
        self.address = address
        self._lib = c.lib
        self._slot = c.ffi.new("char[]", SLOT_SIZE)
        self._copied = c.ffi.buffer(self._slot)

    def load(self, offset: int) -> int:
        """A u32; what is read afterwards is at least as new (acquire)."""
        return self._lib.xdb_load_acquire(self.address + offset)

    def store(self, offset: int, value: int) -> None:
        """A u32; everything written before is visible with it (release)."""
        self._lib.xdb_store_release(self.address + offset, value)

    def fence(self) -> None:
        """A full barrier."""
        self._lib.xdb_fence()

    def read_slot(self, offset: int) -> bytes:
        self._lib.xdb_read(self.address + offset, self._slot, SLOT_SIZE)
        return self._copied[:]

    def write_slot(self, offset: int, data: bytes) -> None:
        self._lib.xdb_write(self.address + offset, data, SLOT_SIZE)
