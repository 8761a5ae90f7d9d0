# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests' pages by grant reference: libxengnttab. Fulfils :class:`xendisplback.host.GrantTable`."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from xendisplback._ext import load_xen
from xendisplback.errors import HostError
from xendisplback.host import GrantMapping, GrantTable
from xendisplback.xen.devices import refusal

if TYPE_CHECKING:
    from xendisplback._ext._xen import Address

GNTDEV = "/dev/xen/gntdev"
PAGE = 4096


class Mapping:
    """Owns its pages until :meth:`close`."""

    def __init__(self, table: Gnttab, pages: Address, count: int) -> None:
        self._table = table
        self._pages: Address | None = pages
        self._count = count
        self.address = int(table.xen.ffi.cast("uintptr_t", pages))
        self.length = count * PAGE

    def close(self) -> None:
        pages, self._pages = self._pages, None
        if pages is not None:
            self._table.unmap(pages, self._count)


class Gnttab:
    """One handle for all domains. Closed after its mappings."""

    def __init__(self) -> None:
        """Raises HostError: no Xen, no permission."""
        self.xen = load_xen()
        self._lock = threading.Lock()
        self._uses = 0
        """Mappings that exist or are being made; under the lock."""
        # The library logs to stderr what it can't open; look first, and say it once.
        if not os.access(GNTDEV, os.R_OK | os.W_OK):
            number = errno.EACCES if os.path.exists(GNTDEV) else errno.ENOENT
            raise refusal(GNTDEV, "open", number)
        self._handle = self.xen.lib.xengnttab_open(self.xen.ffi.NULL, 0)
        if not self._handle:
            raise refusal(GNTDEV, "xengnttab_open", self.xen.ffi.errno)

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> Mapping:
        ffi, lib = self.xen.ffi, self.xen.lib
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        c_refs = ffi.new("uint32_t[]", refs)
        with self._lock:
            self._uses += 1
        pages = lib.xengnttab_map_domain_grant_refs(self._handle, len(refs), domid, c_refs, prot)
        if not pages:
            number = ffi.errno
            self._used()
            raise HostError(
                f"{len(refs)} pages of domain {domid} can't be mapped",
                call="xengnttab_map_domain_grant_refs",
                path=GNTDEV,
                errno=number,
            )
        return Mapping(self, pages, len(refs))

    def unmap(self, pages: Address, count: int) -> None:
        failed = self.xen.lib.xengnttab_unmap(self._handle, pages, count) != 0
        number = self.xen.ffi.errno
        self._used()
        if failed:
            raise HostError(
                f"{count} pages can't be unmapped",
                call="xengnttab_unmap",
                path=GNTDEV,
                errno=number,
            )

    def _used(self) -> None:
        with self._lock:
            self._uses -= 1

    def close(self) -> None:
        # A thread that waits for a paged-out guest still uses the handle, until it has unmapped what it got
        # too late; then the process's end closes it.
        with self._lock:
            if self._uses == 0:
                self.xen.lib.xengnttab_close(self._handle)


class DomainGrants:
    """One frontend's way to its guest's pages: mapping in worker threads, against a deadline.

    A guest whose pages are paged out makes libxengnttab wait without bound. The thread is then left behind;
    what it maps in the end is unmapped by it. A frontend has at most ``MAX_THREADS``; trio's own 40 threads are
    left to everyone else.
    """

    MAX_THREADS = 4

    def __init__(self, table: GrantTable, domid: int) -> None:
        self._table = table
        self._domid = domid
        self._limiter = trio.CapacityLimiter(self.MAX_THREADS)

    async def map(self, refs: Sequence[int], deadline: float, *, writable: bool) -> GrantMapping:
        """Raises HostError: what the kernel says, or ETIMEDOUT at ``deadline`` (trio's clock)."""
        abandoned = False
        mapping: GrantMapping | None = None

        def work() -> GrantMapping:
            nonlocal mapping
            mapping = self._table.map(self._domid, refs, writable=writable)
            if abandoned:
                mapping.close()
            return mapping

        with trio.move_on_at(deadline):
            try:
                return await trio.to_thread.run_sync(
                    work, abandon_on_cancel=True, limiter=self._limiter
                )
            except trio.Cancelled:
                # Set first, looked at second, as the thread does the other way round: one of us closes it.
                abandoned = True
                if mapping is not None:
                    mapping.close()
                raise
        raise HostError(
            f"{len(refs)} pages of domain {self._domid} could not be mapped in time",
            call="xengnttab_map_domain_grant_refs",
            errno=errno.ETIMEDOUT,
            hint="the guest is paged out or paused",
        )
