# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of this domain, granted to a guest: the kernel's gntalloc.

Not by libxengnttab (xengntshr): it gives up the file's hold on the pages as soon as they are mapped, and then
nobody can map them again after our end (mmap: ENOENT, seen on the rig).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence

from xendisplback._ext import load_xen
from xendisplback.errors import HostError
from xendisplback.xen.devices import refusal
from xendisplback.xen.shared_memory import FileMapping
from xendisplback.xen.uses import Closing

GNTALLOC = "/dev/xen/gntalloc"
PAGE = 4096

_LIMIT_HINT = (
    "/sys/module/xen_gntalloc/parameters/limit is how many pages all guests together may have, 1024 unless set;"
    " pages that a guest still maps count on after we closed them"
)


class Shared:
    """Fulfils :class:`xendisplback.host.SharedPages`.

    In a file of their own, in which they begin at offset 0.
    """

    def __init__(self, fd: int, refs: Sequence[int]) -> None:
        """Pages that are shared already; owns ``fd``. Raises HostError."""
        self.fd = fd
        self.refs = refs
        self.length = len(refs) * PAGE
        try:
            self._mapping = FileMapping(fd, self.length)
        except OSError as error:
            os.close(fd)
            raise HostError(
                "shared pages can't be mapped", call="mmap", path=GNTALLOC, errno=error.errno
            ) from error
        self.address = self._mapping.address
        self._closing = Closing()

    @classmethod
    def allocate(cls, domid: int, pages: int) -> Shared:
        """New ones, zeroed, writable for the guest. Raises HostError."""
        fd = _open()
        try:
            refs = _allocate(fd, domid, pages)
        except OSError as error:
            os.close(fd)
            raise HostError(
                f"{pages} pages for domain {domid} can't be shared",
                call="IOCTL_GNTALLOC_ALLOC_GREF",
                path=GNTALLOC,
                errno=error.errno,
                hint=_LIMIT_HINT if error.errno == errno.ENOSPC else None,
            ) from error
        return cls(fd, refs)

    def close(self) -> None:
        if self._closing.begin():
            self._mapping.close()
            os.close(self.fd)


def _open() -> int:
    """Raises HostError."""
    try:
        return os.open(GNTALLOC, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            raise HostError(
                f"no pages to share with a guest: {GNTALLOC} missing",
                call="open",
                path=GNTALLOC,
                errno=error.errno,
                hint="modprobe xen-gntalloc",
            ) from error
        raise refusal(GNTALLOC, "open", error.errno or 0) from error


def _allocate(fd: int, domid: int, pages: int) -> list[int]:
    """Their references. Raises OSError."""
    xen = load_xen()
    # The structure has room for one reference.
    size = xen.ffi.sizeof("struct ioctl_gntalloc_alloc_gref") + 4 * (pages - 1)
    buffer = xen.ffi.new("char[]", size)
    request = xen.ffi.cast("struct ioctl_gntalloc_alloc_gref *", buffer)
    request.domid = domid
    request.flags = xen.lib.GNTALLOC_FLAG_WRITABLE
    request.count = pages
    fcntl.ioctl(fd, xen.lib.IOCTL_GNTALLOC_ALLOC_GREF, xen.ffi.buffer(buffer), True)
    return xen.ffi.unpack(xen.ffi.cast("uint32_t *", xen.ffi.addressof(request, "gref_ids")), pages)
