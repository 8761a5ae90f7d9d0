# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory and its grants. Thread-safe."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from xendisplback.sim.backend_memory import BackendMemory, ForeignMapping
from xendisplback.sim.grants import Grants
from xendisplback.sim.mapping import PAGE, PageMapping, memory_file, punch_hole, runs

GUEST_PAGES = 1 << 20
LONGEST_RUN = 16
"""Buffers are scattered in runs of at most so many pages, each a mapping of its own in this process."""
Made = TypeVar("Made")


class GuestMemory:
    """One domain's pages and grant table."""

    def __init__(self, domid: int, backend: BackendMemory) -> None:
        self.domid = domid
        self.map_seconds = 0.0
        """How long a backend's mapping of our pages takes."""
        self.contiguous = False
        """Whether what is allocated from now on lies in one piece, in its order."""
        self._fd = memory_file(f"sim-dom{domid}", GUEST_PAGES * PAGE)
        self._backend = backend
        self._foreign: list[ForeignMapping] = []
        self._next_page = 0
        self._grants = Grants()
        self._random = random.Random(domid)
        self._present = threading.Event()
        self._present.set()

    # The guest's side

    @property
    def deferred(self) -> list[int]:
        """Every grant that was ended while it was mapped."""
        return self._grants.deferred

    def allocate(self, count: int) -> list[int]:
        """Zeroed pages, in runs of random length and order."""
        pages = range(self._next_page, self._next_page + count)
        self._next_page += count
        if self.contiguous:
            return list(pages)
        pieces: list[Sequence[int]] = []
        while pages:
            length = self._random.randint(1, LONGEST_RUN)
            pieces.append(pages[:length])
            pages = pages[length:]
        self._random.shuffle(pieces)
        return [page for piece in pieces for page in piece]

    def free(self, pages: Sequence[int]) -> None:
        for _, first, count in runs(pages):
            punch_hole(self._fd, first, count)

    def map_own(self, pages: Sequence[int]) -> PageMapping:
        return PageMapping(self._fd, pages, writable=True)

    def map_granted(self, refs: Sequence[int]) -> ForeignMapping | None:
        """Map pages that the backend granted us, writable, at most until we die; None if one is not granted."""
        mapping = self._backend.map(self.domid, refs)
        if mapping is not None:
            self._foreign.append(mapping)
        return mapping

    def grant(self, page: int, domid: int, *, readonly: bool = False) -> int:
        """Let ``domid`` map ``page``; returns the reference."""
        return self._grants.add(self._fd, page, domid, readonly=readonly)

    def end_access(self, ref: int) -> None:
        self._grants.end(ref)

    def page_out(self) -> None:
        """Mappings of our pages block from now on: libxengnttab retries EAGAIN without end."""
        self._present.clear()

    def page_in(self) -> None:
        self._present.set()

    def close(self) -> None:
        """The domain is gone; what is mapped stays readable until it is unmapped."""
        self.page_in()
        for mapping in self._foreign:
            mapping.close()
        self._grants.end_all(self._close_file)

    def _close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # The backend's side

    def map(
        self,
        domid: int,
        refs: Sequence[int],
        make: Callable[[int, list[int]], Made],
        *,
        writable: bool,
    ) -> Made | None:
        """``make(file, pages)`` of ``refs`` for ``domid``; None if one is invalid. Blocking."""
        self._present.wait()
        if self.map_seconds:
            time.sleep(self.map_seconds)
        return self._grants.map(domid, refs, make, writable=writable)

    def unmapped(self, refs: Sequence[int]) -> None:
        self._grants.unmapped(refs)
