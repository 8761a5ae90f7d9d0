# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies in and out of memory shared with a guest."""

from __future__ import annotations

from xendisplback._ext import load_flip


def read_memory(address: int, size: int) -> bytes:
    """A copy of ``size`` bytes; the guest may write them meanwhile, so look at nothing but the copy."""
    c = load_flip()
    copy = c.ffi.new("char[]", size)
    c.lib.xdb_read(address, copy, size)
    return c.ffi.buffer(copy)[:]


def write_memory(address: int, data: bytes) -> None:
    load_flip().lib.xdb_write(address, data, len(data))
