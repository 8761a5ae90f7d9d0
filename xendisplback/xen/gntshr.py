# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of this domain, granted to a guest: libxengnttab's sharing half, on /dev/xen/gntalloc."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xendisplback._ext import load_xen
from xendisplback.errors import HostError
from xendisplback.xen.devices import refusal, silent_logger
from xendisplback.xen.uses import Closing

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
    """Fulfils :class:`xendisplback.host.SharedPages`.

    On a handle of their own, which is closed with them.
    """

    def __init__(self, domid: int, pages: int) -> None:
        """Raises HostError."""
        self._xen = xen = load_xen()
        self._handle = _open()
        refs = xen.ffi.new("uint32_t[]", pages)
        address = xen.lib.xengntshr_share_pages(self._handle, domid, pages, refs, WRITABLE)
        if not address:
            number = xen.ffi.errno
            xen.lib.xengntshr_close(self._handle)
            raise HostError(
                f"{pages} pages for domain {domid} can't be shared",
                call="xengntshr_share_pages",
                path=GNTALLOC,
                errno=number,
                hint=_LIMIT_HINT if number == errno.ENOSPC else None,
            )
        self._pages: Address = address
        self._closing = Closing()
        self.refs: Sequence[int] = xen.ffi.unpack(refs, pages)
        self.address = int(xen.ffi.cast("uintptr_t", address))
        self.length = pages * PAGE

    def close(self) -> None:
        if not self._closing.begin():
            return
        lib = self._xen.lib
        try:
            if lib.xengntshr_unshare(self._handle, self._pages, len(self.refs)) != 0:
                raise HostError(
                    f"{len(self.refs)} shared pages can't be unmapped",
                    call="xengntshr_unshare",
                    path=GNTALLOC,
                    errno=self._xen.ffi.errno,
                )
        finally:
            lib.xengntshr_close(self._handle)


def _open() -> GntshrHandle:
    # The library logs to stderr what it can't open; look first, and say it once.
    if not os.access(GNTALLOC, os.R_OK | os.W_OK):
        raise _refusal("open", errno.EACCES if os.path.exists(GNTALLOC) else errno.ENOENT)
    xen = load_xen()
    handle = xen.lib.xengntshr_open(silent_logger(), 0)
    if not handle:
        raise _refusal("xengntshr_open", xen.ffi.errno)
    return handle


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
