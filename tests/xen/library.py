# SPDX-License-Identifier: GPL-2.0-or-later
"""A stand-in for libxengnttab. Its dma-bufs are real files: pipes, whose other end sees when they are closed."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field

from xendisplback._ext import load_xen

PAGES = 0x7000_0000
REFS = [101, 102, 103]


@dataclass
class Library:
    """Records its calls; maps everything at ``PAGES`` unless ``refuse`` is an errno."""

    GNTDEV_DMA_FLAG_WC = 1
    GNTDEV_DMA_FLAG_COHERENT = 2

    refuse: int = 0
    calls: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self._ffi = load_xen().ffi
        self._others: dict[int, int] = {}
        """By an exported descriptor, the pipe's other end."""
        self._lock = threading.Lock()

    def _done(self, call: str) -> int:
        self.calls.append(call)
        self._ffi.errno = self.refuse
        return -1 if self.refuse else 0

    def _pages(self, call: str) -> object:
        return None if self._done(call) else self._ffi.cast("void *", PAGES)

    def xengnttab_open(self, logger: object, flags: int) -> object:
        return self._ffi.cast("void *", 1)

    def xengnttab_close(self, handle: object) -> int:
        self.calls.append("close")
        return 0

    def xengnttab_map_domain_grant_refs(
        self, handle: object, count: int, domid: int, refs: object, prot: int
    ) -> object:
        return self._pages(f"map {count} of {domid}")

    def xengnttab_unmap(self, handle: object, start: object, count: int) -> int:
        return self._done(f"unmap {count}")

    def xengnttab_dmabuf_exp_from_refs(
        self, handle: object, domid: int, flags: int, count: int, refs: object, fd: list[int]
    ) -> int:
        result = self._done(f"export {count} of {domid}, flags {flags}")
        if result == 0:
            other, fd[0] = os.pipe()
            with self._lock:
                self._others[fd[0]] = other
        return result

    def xengnttab_dmabuf_exp_wait_released(self, handle: object, fd: int, wait_ms: int) -> int:
        with self._lock:
            other = self._others.pop(fd)
        os.set_blocking(other, False)
        try:
            assert os.read(other, 1) == b"", "the end of file: nobody has the dma-buf open"
        finally:
            os.close(other)
        assert os.path.samestat(os.fstat(fd), os.stat(os.devnull)), "the number is another file's"
        assert not os.get_inheritable(fd)
        return self._done(f"wait {wait_ms}")

    def xengnttab_dmabuf_imp_to_refs(
        self, handle: object, domid: int, fd: int, count: int, refs: list[int]
    ) -> int:
        self.imported = fd
        for index in range(count):
            refs[index] = REFS[index]
        return self._done(f"grant {count} to {domid}")

    def xengnttab_dmabuf_imp_release(self, handle: object, fd: int) -> int:
        os.fstat(fd)
        if fd != self.imported:
            self._ffi.errno = errno.ENOENT
            return -1
        return self._done("end grants")
