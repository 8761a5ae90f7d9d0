# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of the backend domain that guests may map (be-alloc=1): a card's memory, or pages from gntalloc."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from xendisplback.sim.dmabuf import SharedBuffer
from xendisplback.sim.grants import Grants
from xendisplback.sim.mapping import PAGE, PageMapping
from xendisplback.sim.process import OpenFile


class ForeignMapping:
    """The backend's pages as a guest mapped them."""

    def __init__(self, grants: Grants, refs: Sequence[int], pages: PageMapping) -> None:
        self._grants = grants
        self._refs = tuple(refs)
        self._pages = pages
        self._open = True

    def view(self) -> memoryview:
        """Not to be used after :meth:`close`."""
        return self._pages.view()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._pages.close()
            self._grants.unmapped(self._refs)


class SimGrantedPages:
    """Fulfils :class:`xendisplback.host.GrantedPages`."""

    def __init__(
        self, grants: Grants, domid: int, file: int, pages: int, let_go: Callable[[], None]
    ) -> None:
        """``let_go`` is called after the grants' end."""
        self.refs = [grants.add(file, page, domid) for page in range(pages)]
        self._grants = grants
        self._let_go = let_go
        self.open = True

    def close(self) -> None:
        """What the guest keeps mapped goes on being its memory."""
        if self.open:
            self.open = False
            for ref in self.refs:
                self._grants.end(ref)
            self._let_go()


class SimSharedPages:
    """Fulfils :class:`xendisplback.host.SharedPages`. Granted until its file is open nowhere any more."""

    def __init__(self, fd: int, refs: Sequence[int]) -> None:
        """Owns ``fd``."""
        self.fd = fd
        self.refs = refs
        self.length = len(refs) * PAGE
        self._mapping = PageMapping(fd, range(len(refs)), writable=True)
        self._open = True
        self.address = self._mapping.address

    def close(self) -> None:
        if self._open:
            self._open = False
            self._mapping.close()
            os.close(self.fd)


class BackendMemory:
    """What the backend domain has granted."""

    def __init__(self) -> None:
        self.freed_in_use = 0
        """Pages of cards that were freed while a guest had them mapped: a real dom0 may die of it (CMA)."""
        self._grants = Grants()
        self._of_files: list[tuple[OpenFile, SimGrantedPages]] = []
        self._lock = threading.Lock()

    def granted(self, domid: int | None = None) -> int:
        """Pages granted now to one domain, or to all."""
        self._close_files()
        return self._grants.granted(domid)

    def kept(self, domid: int | None = None) -> int:
        """Pages that a guest keeps mapped though the backend took them back."""
        self._close_files()
        return self._grants.kept(domid)

    def map(self, domid: int, refs: Sequence[int]) -> ForeignMapping | None:
        """For the guest ``domid``, writable; None if one is not granted, or if they are of several buffers."""

        def make(file: int, pages: list[int]) -> PageMapping:
            return PageMapping(file, pages, writable=True)

        self._close_files()
        mapping = self._grants.map(domid, refs, make, writable=True)
        return None if mapping is None else ForeignMapping(self._grants, refs, mapping)

    def grant(self, domid: int, buffer: SharedBuffer, file: OpenFile) -> SimGrantedPages:
        """A whole dma-buf, as long as ``file``, a gntdev handle, is open."""
        pages = len(buffer.pages.pages)
        buffer.get()
        granted = SimGrantedPages(self._grants, domid, buffer.pages.file, pages, buffer.put)

        def free() -> None:
            self.freed_in_use += self._grants.mapped(granted.refs)

        buffer.at_release(free)
        with self._lock:
            self._of_files.append((file, granted))
        return granted

    def share(self, domid: int, pages: int) -> SimSharedPages:
        file = OpenFile(pages * PAGE)
        granted = SimGrantedPages(self._grants, domid, file.content, pages, lambda: None)
        with self._lock:
            self._of_files.append((file, granted))
        return SimSharedPages(file.fd, granted.refs)

    def _close_files(self) -> None:
        """Take back what was granted over a handle that nobody has open any more."""
        with self._lock:
            files = {file for file, _ in self._of_files}
            closed = {file for file in files if not file.open}
            gone = [granted for file, granted in self._of_files if file in closed]
            self._of_files = [entry for entry in self._of_files if entry[0] not in closed]
        for granted in gone:
            granted.close()
        for file in closed:
            file.free()
