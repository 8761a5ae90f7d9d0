# SPDX-License-Identifier: GPL-2.0-or-later
"""dma-bufs of the simulated kernel: pages behind a real file descriptor, and how they lie for a controller.

A page's machine address is its number in its domain's memory. A controller without an IOMMU sees those; behind one
it sees the backend domain's own addresses, over which gntdev mapped the pages.
"""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xendisplback.errors import HostError
from xendisplback.sim.mapping import PAGE
from xendisplback.sim.process import Process

RELEASE_SECONDS = 0.5
"""How long closing an export waits for its importers."""


@dataclass(frozen=True, slots=True)
class BufferPages:
    """Pages of ``file``, in the order of the buffer, and what follows its first address for a controller."""

    file: int
    pages: Sequence[int]
    in_machine: Sequence[int]
    """Without an IOMMU."""
    in_domain: Sequence[int]
    """Behind an IOMMU."""

    @classmethod
    def contiguous(cls, file: int, count: int) -> BufferPages:
        """A whole file, as a dumb buffer lies."""
        pages = range(count)
        return cls(file, pages, pages, pages)

    @classmethod
    def exported(cls, file: int, pages: list[int], *, contiguous: bool) -> BufferPages:
        """A guest's pages, mapped over one stretch of the backend domain's memory, or over pages from anywhere."""
        rest = pages[1:]
        if not contiguous:
            random.Random(pages[0]).shuffle(rest)
        in_machine = list(range(pages[0], pages[0] + len(pages)))
        return cls(file, pages, in_machine, [pages[0], *rest])

    def seen(self, *, iommu: bool) -> Sequence[int]:
        return self.in_domain if iommu else self.in_machine

    def is_contiguous(self, *, iommu: bool) -> bool:
        return list(self.seen(iommu=iommu)) == list(self.pages)


class SharedBuffer:
    """The kernel's struct dma_buf: lives as long as somebody uses it, at first whoever has :attr:`fd`."""

    def __init__(self, pages: BufferPages, release: Callable[[], None]) -> None:
        self.pages = pages
        self.fd = os.memfd_create("sim-dmabuf", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, self.size)
        self._at_release = [release]
        self._users = 1
        self._changed = threading.Condition()

    @property
    def size(self) -> int:
        return len(self.pages.pages) * PAGE

    def get(self) -> None:
        with self._changed:
            self._users += 1

    def put(self) -> None:
        with self._changed:
            self._users -= 1
            if self._users == 0:
                for call in reversed(self._at_release):
                    call()
                self._changed.notify_all()

    def at_release(self, call: Callable[[], None]) -> None:
        """Call it before the memory is freed."""
        with self._changed:
            self._at_release.append(call)

    def wait_released(self) -> bool:
        """Whether nobody uses it any more. Blocking."""
        with self._changed:
            return self._changed.wait_for(lambda: self._users == 0, RELEASE_SECONDS)


class DmaBufs:
    """All dma-bufs of the machine, by the inode that their descriptors stand for. Thread-safe."""

    def __init__(self, process: Process | None = None) -> None:
        """``process``: who has them open."""
        self.process = Process() if process is None else process
        self._buffers: dict[int, SharedBuffer] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        with self._lock:
            return len(self._buffers)

    def create(self, pages: BufferPages, release: Callable[[], None]) -> SharedBuffer:
        """``release`` is called when nobody uses it any more."""

        def gone() -> None:
            with self._lock:
                del self._buffers[inode]
            release()

        buffer = SharedBuffer(pages, gone)
        inode = os.fstat(buffer.fd).st_ino
        with self._lock:
            self._buffers[inode] = buffer
        return buffer

    def find(self, fd: int) -> SharedBuffer | None:
        """What ``fd`` stands for; None: no dma-buf. Raises OSError EBADF."""
        inode = os.fstat(fd).st_ino
        with self._lock:
            return self._buffers.get(inode)


class SimExport:
    """Fulfils :class:`xendisplback.host.DmaBuf`."""

    def __init__(self, buffer: SharedBuffer, process: set[Any]) -> None:
        """``process``: what the daemon's has open, and from now on this."""
        self._buffer = buffer
        self._process = process
        self.fd = buffer.fd
        process.add(self)

    def kill(self) -> None:
        """With its process: whoever imported it has it still. Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._process.discard(self)
            os.close(fd)
            self._buffer.put()

    def close(self) -> None:
        if self.fd < 0:
            return
        self.kill()
        if not self._buffer.wait_released():
            raise HostError(
                "something still holds a guest's dma-buf",
                call="xengnttab_dmabuf_exp_wait_released",
                errno=errno.ETIMEDOUT,
            )
