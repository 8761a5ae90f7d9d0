# SPDX-License-Identifier: GPL-2.0-or-later
"""gntdev's dma-bufs: a guest's pages as one (export), and the pages of one granted to a guest (import).

The kernel finds both by the *number* that the file descriptor had, not by what is open under it
(drivers/xen/gntdev-dmabuf.c). So each object keeps its number to itself until the kernel has let go.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from xendisplback.errors import HostError

GNTDEV = "/dev/xen/gntdev"
RELEASE_MS = 2000
"""More than any importer needs to let go; the wait in the kernel can't be interrupted."""


class DmaBufCalls(Protocol):
    """libxengnttab's calls on one handle. Each returns 0 or a positive errno."""

    def wait_released(self, fd: int, milliseconds: int) -> int: ...
    def end_grants(self, fd: int) -> int: ...


class Exported:
    """A guest's pages as a dma-buf. Fulfils :class:`xendisplback.host.DmaBuf`."""

    def __init__(self, calls: DmaBufCalls, fd: int, closed: Callable[[], None]) -> None:
        """``closed`` is called when nothing of it is left to do."""
        self._calls = calls
        self._closed: Callable[[], None] | None = closed
        self.fd = fd

    def close(self) -> None:
        closed, self._closed = self._closed, None
        if closed is None:
            return
        try:
            # From here on the number stands for /dev/null, so that no other thread is given it while we wait.
            with open(os.devnull, "rb") as null:
                os.dup2(null.fileno(), self.fd, inheritable=False)
            number = self._calls.wait_released(self.fd, RELEASE_MS)
            # ENOENT: it was released before we asked.
            if number not in (0, errno.ENOENT):
                raise HostError(
                    "something still holds a guest's dma-buf",
                    call="xengnttab_dmabuf_exp_wait_released",
                    path=GNTDEV,
                    errno=number,
                )
        finally:
            os.close(self.fd)
            closed()


class Granted:
    """A dma-buf's pages granted to a guest. Fulfils :class:`xendisplback.host.GrantedPages`."""

    def __init__(
        self, calls: DmaBufCalls, fd: int, refs: Sequence[int], closed: Callable[[], None]
    ) -> None:
        """Owns ``fd``, the number that the kernel knows it by."""
        self._calls = calls
        self._fd = fd
        self._closed: Callable[[], None] | None = closed
        self.refs = refs

    def close(self) -> None:
        closed, self._closed = self._closed, None
        if closed is None:
            return
        try:
            number = self._calls.end_grants(self._fd)
            if number:
                raise HostError(
                    "granted pages can't be taken back",
                    call="xengnttab_dmabuf_imp_release",
                    path=GNTDEV,
                    errno=number,
                )
        finally:
            os.close(self._fd)
            closed()
