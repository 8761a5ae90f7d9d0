# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of this domain, granted to a guest: libxengnttab's sharing half, on /dev/xen/gntalloc."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xendisplback._ext import load_xen
from xendisplback.errors import HostError

if TYPE_CHECKING:
    from xendisplback._ext._xen import Address, GntshrHandle

GNTALLOC = "/dev/xen/gntalloc"
PAGE = 4096


class Shared:
    """Fulfils :class:`xendisplback.host.SharedPages`."""

    def __init__(self, table: Gntshr, pages: Address, refs: Sequence[int]) -> None:
        self._table = table
        self._pages: Address | None = pages
        self.refs = refs
        self.address = int(table.xen.ffi.cast("uintptr_t", pages))
        self.length = len(refs) * PAGE

    def close(self) -> None:
        pages, self._pages = self._pages, None
        if pages is not None:
            self._table.unshare(pages, len(self.refs))


class Gntshr:
    """One handle for all domains, opened when it is first needed."""

    def __init__(self) -> None:
        self.xen = load_xen()
        self._lock = threading.Lock()
        self._handle: GntshrHandle | None = None

    def share(self, domid: int, pages: int) -> Shared:
        """Raises HostError."""
        ffi = self.xen.ffi
        with self._lock:
            if self._handle is None:
                self._handle = self._open()
        refs = ffi.new("uint32_t[]", pages)
        address = self.xen.lib.xengntshr_share_pages(self._handle, domid, pages, refs, 1)
        if not address:
            number = ffi.errno
            raise HostError(
                f"{pages} pages for domain {domid} can't be shared",
                call="xengntshr_share_pages",
                path=GNTALLOC,
                errno=number,
                hint="the parameter 'limit' of module xen-gntalloc is for all shared pages together"
                if number == errno.ENOSPC
                else None,
            )
        return Shared(self, address, ffi.unpack(refs, pages))

    def _open(self) -> GntshrHandle:
        hint = "modprobe xen-gntalloc"
        if not os.access(GNTALLOC, os.R_OK | os.W_OK):
            number = errno.EACCES if os.path.exists(GNTALLOC) else errno.ENOENT
            raise HostError(
                "no pages to share", call="open", path=GNTALLOC, errno=number, hint=hint
            )
        handle = self.xen.lib.xengntshr_open(self.xen.lib.xdb_silent_logger(), 0)
        if not handle:
            raise HostError(
                "no pages to share",
                call="xengntshr_open",
                path=GNTALLOC,
                errno=self.xen.ffi.errno,
                hint=hint,
            )
        return handle

    def unshare(self, pages: Address, count: int) -> None:
        assert self._handle is not None
        if self.xen.lib.xengntshr_unshare(self._handle, pages, count) != 0:
            raise HostError(
                f"{count} pages can't be taken back",
                call="xengntshr_unshare",
                path=GNTALLOC,
                errno=self.xen.ffi.errno,
            )

    def close(self) -> None:
        """After its pages."""
        if self._handle is not None:
            self.xen.lib.xengntshr_close(self._handle)
            self._handle = None
