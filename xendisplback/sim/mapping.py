# SPDX-License-Identifier: GPL-2.0-or-later
"""Scattered pages of a file, mapped side by side: what gntdev does with grants and a guest with its pages."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator, Sequence

from xendisplback.errors import HostError

PAGE = 4096
_MAP_FIXED = 0x10
_FAILED = ctypes.c_void_p(-1).value
_KEEP_SIZE_PUNCH_HOLE = 3

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def _mmap(address: int, length: int, protection: int, flags: int, fd: int, offset: int) -> int:
    """Raises OSError."""
    result = _libc.mmap(address, length, protection, flags, fd, offset)
    if result is None or result == _FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    return int(result)


def runs(pages: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(index, first page, count) of each stretch of consecutive numbers in ``pages``."""
    start = 0
    for index in range(1, len(pages) + 1):
        if index == len(pages) or pages[index] != pages[index - 1] + 1:
            yield start, pages[start], index - start
            start = index


class PageMapping:
    """``pages`` of the file ``fd``, contiguous from ``address`` on, shared with it."""

    def __init__(self, fd: int, pages: Sequence[int], *, writable: bool) -> None:
        """Raises OSError."""
        self.length = len(pages) * PAGE
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.address = _mmap(0, self.length, 0, private, -1, 0)
        self._open = True
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        try:
            for index, first, count in runs(pages):
                where, size = self.address + index * PAGE, count * PAGE
                _mmap(where, size, protection, mmap.MAP_SHARED | _MAP_FIXED, fd, first * PAGE)
        except OSError:
            self.close()
            raise

    def view(self) -> memoryview:
        """All bytes. Not to be used after :meth:`close`."""
        return memoryview((ctypes.c_ubyte * self.length).from_address(self.address)).cast("B")

    def close(self) -> None:
        """Unmap. Idempotent."""
        if self._open:
            self._open = False
            _libc.munmap(self.address, self.length)


def punch_hole(fd: int, first: int, count: int) -> None:
    """Give the memory of ``count`` pages back; they read as zeros then. Raises OSError."""
    if _libc.fallocate(fd, _KEEP_SIZE_PUNCH_HOLE, first * PAGE, count * PAGE) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def check_descriptors(count: int, call: str) -> None:
    """Whether ``count`` more files can be opened. Raises HostError as ``call`` would."""
    opened: list[int] = []
    try:
        opened += (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(count))
    except OSError as error:
        raise HostError("no file descriptor is left", call=call, errno=error.errno) from None
    finally:
        for fd in opened:
            os.close(fd)


def memory_file(name: str, size: int) -> int:
    """An fd of ``size`` bytes of memory, zeroed, that take room only once written."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd
