# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests' pages by grant reference: libxengnttab. Fulfils :class:`xendisplback.host.GrantTable`."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xendisplback._ext import load_xen
from xendisplback.errors import HostError
from xendisplback.host import ExportKind
from xendisplback.xen.devices import refusal, silent_logger
from xendisplback.xen.dmabuf import GNTDEV, Exported, Granted
from xendisplback.xen.gntalloc import Shared
from xendisplback.xen.uses import Closing, Use, Uses

if TYPE_CHECKING:
    from xendisplback._ext._xen import Address

PAGE = 4096
FIRST_FD = 3
"""Not stdin, stdout or stderr."""


class Mapping:
    """Owns its pages until :meth:`close`."""

    def __init__(self, table: Gnttab, pages: Address, count: int, use: Use) -> None:
        self._table = table
        self._pages = pages
        self._count = count
        self._use = use
        self._closing = Closing()
        self.address = int(table.xen.ffi.cast("uintptr_t", pages))
        self.length = count * PAGE

    def close(self) -> None:
        if self._closing.begin():
            try:
                self._table.unmap(self._pages, self._count)
            finally:
                self._use.end()


class Gnttab:
    """One handle for all domains. Closed after its mappings, exports and grants."""

    def __init__(self) -> None:
        """Raises HostError: no Xen, no permission."""
        self.xen = load_xen()
        self._uses = Uses()
        # The library logs to stderr what it can't open; look first, and say it once.
        if not os.access(GNTDEV, os.R_OK | os.W_OK):
            number = errno.EACCES if os.path.exists(GNTDEV) else errno.ENOENT
            raise refusal(GNTDEV, "open", number)
        self._handle = self.xen.lib.xengnttab_open(silent_logger(), 0)
        if not self._handle:
            raise refusal(GNTDEV, "xengnttab_open", self.xen.ffi.errno)
        # Open from the start: a dma-buf must be closed even when there are no file descriptors left.
        self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

    @property
    def fd(self) -> int:
        return self.xen.lib.xengnttab_fd(self._handle)

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> Mapping:
        lib = self.xen.lib
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        c_refs = self.xen.ffi.new("uint32_t[]", refs)
        with self._uses.use() as use:
            pages = lib.xengnttab_map_domain_grant_refs(
                self._handle, len(refs), domid, c_refs, prot
            )
            what = f"{len(refs)} pages of domain {domid} can't be mapped"
            self._check(0 if pages else -1, "xengnttab_map_domain_grant_refs", what)
            use.kept = True
            return Mapping(self, pages, len(refs), use)

    def unmap(self, pages: Address, count: int) -> None:
        """For :class:`Mapping`."""
        result = self.xen.lib.xengnttab_unmap(self._handle, pages, count)
        self._check(result, "xengnttab_unmap", f"{count} pages can't be unmapped")

    def export(self, domid: int, refs: Sequence[int], kind: ExportKind) -> Exported:
        """Where the guest's pages are paged out, the kernel tries for half a minute, then says EINVAL."""
        ffi, lib = self.xen.ffi, self.xen.lib
        flags = {
            ExportKind.PLAIN: 0,
            ExportKind.WRITE_COMBINED: lib.GNTDEV_DMA_FLAG_WC,
            ExportKind.COHERENT: lib.GNTDEV_DMA_FLAG_COHERENT,
        }
        c_refs, fd = ffi.new("uint32_t[]", refs), ffi.new("uint32_t[]", 1)
        with self._uses.use() as use:
            result = lib.xengnttab_dmabuf_exp_from_refs(
                self._handle, domid, flags[kind], len(refs), c_refs, fd
            )
            what = f"no dma-buf of {len(refs)} pages of domain {domid}"
            self._check(result, "xengnttab_dmabuf_exp_from_refs", what)
            use.kept = True
            return Exported(self, fd[0], use)

    def occupy(self, fd: int) -> None:
        os.dup2(self._null, fd, inheritable=False)

    def wait_released(self, fd: int, milliseconds: int) -> int:
        result = self.xen.lib.xengnttab_dmabuf_exp_wait_released(self._handle, fd, milliseconds)
        return self.xen.ffi.errno if result else 0

    def grant(self, domid: int, dmabuf: int, pages: int) -> Granted:
        refs = self.xen.ffi.new("uint32_t[]", pages)
        what = f"{pages} pages can't be granted to domain {domid}"
        # A number of our own: the caller's may be closed, and used anew, before the grants are taken back.
        try:
            fd = fcntl.fcntl(dmabuf, fcntl.F_DUPFD_CLOEXEC, FIRST_FD)
        except OSError as error:
            raise HostError(what, call="fcntl", errno=error.errno) from None
        try:
            with self._uses.use() as use:
                result = self.xen.lib.xengnttab_dmabuf_imp_to_refs(
                    self._handle, domid, fd, pages, refs
                )
                self._check(result, "xengnttab_dmabuf_imp_to_refs", what)
                use.kept = True
                return Granted(self, fd, self.xen.ffi.unpack(refs, pages), use)
        except BaseException:
            os.close(fd)
            raise

    def end_grants(self, fd: int) -> int:
        result = self.xen.lib.xengnttab_dmabuf_imp_release(self._handle, fd)
        return self.xen.ffi.errno if result else 0

    def share(self, domid: int, pages: int) -> Shared:
        return Shared.allocate(domid, pages)

    def share_again(self, fd: int, refs: Sequence[int]) -> Shared:
        return Shared(fd, refs)

    def _check(self, result: int, call: str, what: str) -> None:
        if result != 0:
            raise HostError(what, call=call, path=GNTDEV, errno=self.xen.ffi.errno)

    def close(self) -> None:
        # A thread that waits for a paged-out guest still uses the handle, until it has unmapped what it got
        # too late.
        self._uses.close(self._close)

    def _close(self) -> None:
        self.xen.lib.xengnttab_close(self._handle)
        os.close(self._null)
