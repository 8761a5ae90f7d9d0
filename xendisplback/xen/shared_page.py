# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory shared with a guest: ring pages with the ordering they need, and plain copies in and out."""

from __future__ import annotations

from xendisplback._ext import load_memory

SLOT = 64


def read_memory(address: int, size: int) -> bytes:
    """A copy of ``size`` bytes; the guest may write them meanwhile, so look at nothing but the copy."""
    memory = load_memory()
    copy = memory.ffi.new("char[]", size)
    memory.lib.xdb_read(address, copy, size)
    return memory.ffi.buffer(copy)[:]


def write_memory(address: int, data: bytes) -> None:
    load_memory().lib.xdb_write(address, data, len(data))


class SharedPage:
    """A mapped ring page. Fulfils :class:`xendisplback.protocol.ring.Page`; the mapping is its owner's."""

    def __init__(self, address: int) -> None:
        memory = load_memory()
        self._address = address
        self._lib = memory.lib
        self._slot = memory.ffi.new("char[]", SLOT)
        self._copied = memory.ffi.buffer(self._slot)

    def load(self, offset: int) -> int:
        return self._lib.xdb_load_acquire(self._address + offset)

    def store(self, offset: int, value: int) -> None:
        self._lib.xdb_store_release(self._address + offset, value)

    def fence(self) -> None:
        self._lib.xdb_fence()

    def read_slot(self, offset: int) -> bytes:
        self._lib.xdb_read(self._address + offset, self._slot, SLOT)
        return self._copied[:]

    def write_slot(self, offset: int, data: bytes) -> None:
        self._lib.xdb_write(self._address + offset, data, SLOT)
