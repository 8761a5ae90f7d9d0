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
from xendisplback.xen.devices import refusal, silent_logger
from xendisplback.xen.uses import Closing, Use, Uses

if TYPE_CHECKING:
    from xendisplback._ext._xen import Address, GntshrHandle

GNTALLOC = "/dev/xen/gntalloc"
PAGE = 4096
WRITABLE = 1

_LIMIT_HINT = (
    "/sys/module/xen_gntalloc/parameters/limit is how many pages all guests together may have, 1024 unless set;"
    " pages that a guest still maps count on after we closed them"
)


class Shared:
    """Fulfils :class:`xendisplback.host.SharedPages`."""

    def __init__(self, table: Gntshr, pages: Address, refs: Sequence[int], use: Use) -> None:
        self._table = table
        self._pages = pages
        self._use = use
        self._closing = Closing()
        self.refs = refs
        self.address = int(table.xen.ffi.cast("uintptr_t", pages))
        self.length = len(refs) * PAGE

    def close(self) -> None:
        if self._closing.begin():
            try:
                self._table.unshare(self._pages, len(self.refs))
            finally:
                self._use.end()


class Gntshr:
    """One handle for all domains, opened when it is first needed. Closed after its pages."""

    def __init__(self) -> None:
        self.xen = load_xen()
        self._uses = Uses()
        self._lock = threading.Lock()
        self._handle: GntshrHandle | None = None

    def share(self, domid: int, pages: int) -> Shared:
        """Raises HostError."""
        ffi, lib = self.xen.ffi, self.xen.lib
        refs = ffi.new("uint32_t[]", pages)
        with self._uses.use() as use:
            address = lib.xengntshr_share_pages(self._open(), domid, pages, refs, WRITABLE)
            if not address:
                number = ffi.errno
                raise HostError(
                    f"{pages} pages for domain {domid} can't be shared",
                    call="xengntshr_share_pages",
                    path=GNTALLOC,
                    errno=number,
                    hint=_LIMIT_HINT if number == errno.ENOSPC else None,
                )
            use.kept = True
            return Shared(self, address, ffi.unpack(refs, pages), use)

    def unshare(self, pages: Address, count: int) -> None:
        """For :class:`Shared`."""
        if self.xen.lib.xengntshr_unshare(self._open(), pages, count) != 0:
            raise HostError(
                f"{count} shared pages can't be unmapped",
                call="xengntshr_unshare",
                path=GNTALLOC,
                errno=self.xen.ffi.errno,
            )

    def _open(self) -> GntshrHandle:
        with self._lock:
            if self._handle is None:
                # The library logs to stderr what it can't open; look first, and say it once.
                if not os.access(GNTALLOC, os.R_OK | os.W_OK):
                    number = errno.EACCES if os.path.exists(GNTALLOC) else errno.ENOENT
                    raise _refusal("open", number)
                handle = self.xen.lib.xengntshr_open(silent_logger(), 0)
                if not handle:
                    raise _refusal("xengntshr_open", self.xen.ffi.errno)
                self._handle = handle
            return self._handle

    def close(self) -> None:
        self._uses.close(self._close)

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self.xen.lib.xengntshr_close(handle)


def _refusal(call: str, number: int) -> HostError:
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return HostError(
            f"no pages to share with a guest: {GNTALLOC} missing",
            call=call,
            path=GNTALLOC,
            errno=number,
            hint="modprobe xen-gntalloc",
        )
    return refusal(GNTALLOC, call, number)
