# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies in and out of memory shared with a guest."""

from __future__ import annotations

from xendisplback._ext import load_memory


def read_memory(address: int, size: int) -> bytes:
    """A copy of ``size`` bytes; the guest may write them meanwhile, so look at nothing but the copy."""
    memory = load_memory()
    copy = memory.ffi.new("char[]", size)
    memory.lib.xdb_read(address, copy, size)
    return memory.ffi.buffer(copy)[:]


def write_memory(address: int, data: bytes) -> None:
    load_memory().lib.xdb_write(address, data, len(data))
