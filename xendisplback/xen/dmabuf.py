# SPDX-License-Identifier: GPL-2.0-or-later
"""gntdev's dma-bufs: a guest's pages as one (export), and the pages of one granted to a guest (import).

The kernel finds both by the *number* that the file descriptor had, not by what is open under it
(linux/drivers/xen/gntdev-dmabuf.c). So each object keeps its number to itself until the kernel has let go.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import Protocol

from xendisplback.errors import HostError
from xendisplback.xen.uses import Closing, Use

GNTDEV = "/dev/xen/gntdev"
RELEASE_MS = 2000
"""More than any importer needs to let go; the wait in the kernel can't be interrupted."""


class DmaBufCalls(Protocol):
    """libxengnttab's calls on one handle. Those with a result return 0 or a positive errno."""

    def occupy(self, fd: int) -> None:
        """Close what is open as ``fd`` and open something else there, in one step (dup3, O_CLOEXEC)."""
        ...

    def wait_released(self, fd: int, milliseconds: int) -> int: ...
    def end_grants(self, fd: int) -> int: ...


class Exported:
    """A guest's pages as a dma-buf. Fulfils :class:`xendisplback.host.DmaBuf`."""

    def __init__(self, calls: DmaBufCalls, fd: int, use: Use) -> None:
        """Owns ``fd``, the number that the kernel knows it by."""
        self._calls = calls
        self._use = use
        self._closing = Closing()
        self.fd = fd

    def close(self) -> None:
        if not self._closing.begin():
            return
        fd, self.fd = self.fd, -1
        try:
            # Until we have waited, no other thread may be given the number: were it an export again, the
            # kernel would find that one.
            self._calls.occupy(fd)
            number = self._calls.wait_released(fd, RELEASE_MS)
        finally:
            os.close(fd)
            self._use.end()
        # ENOENT: it was released before we asked. libxengnttab answers 0 for it.
        if number not in (0, errno.ENOENT):
            raise HostError(
                "a guest's dma-buf is still imported"
                if number == errno.ETIMEDOUT
                else "nothing tells whether a guest's dma-buf is released",
                call="xengnttab_dmabuf_exp_wait_released",
                path=GNTDEV,
                errno=number,
                hint="its pages stay mapped until the display driver lets go",
            )


class Granted:
    """A dma-buf's pages granted to a guest. Fulfils :class:`xendisplback.host.GrantedPages`."""

    def __init__(self, calls: DmaBufCalls, fd: int, refs: Sequence[int], use: Use) -> None:
        """Owns ``fd``, the number that the kernel knows it by."""
        self._calls = calls
        self._fd = fd
        self._use = use
        self._closing = Closing()
        self.refs = refs

    def close(self) -> None:
        if not self._closing.begin():
            return
        try:
            number = self._calls.end_grants(self._fd)
        finally:
            os.close(self._fd)
            self._use.end()
        if number:
            raise HostError(
                "granted pages can't be taken back",
                call="xengnttab_dmabuf_imp_release",
                path=GNTDEV,
                errno=number,
            )
