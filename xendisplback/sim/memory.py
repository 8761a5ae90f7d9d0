# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest memory and its grants, and the backend's mappings of them. Thread-safe.

A grant that its guest ends while it is mapped is not free: Linux defers it and tries again ten times a second.
Such references are kept in ``GuestMemory.deferred``, so that a test sees a backend that unmaps too late.
"""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from xendisplback.errors import HostError
from xendisplback.sim.mapping import PAGE, PageMapping, memory_file, punch_hole, runs

GUEST_PAGES = 1 << 20
FIRST_REF = 8
"""GNTTAB_NR_RESERVED_ENTRIES: lower ones belong to the toolstack."""
LONGEST_RUN = 16
"""Buffers are scattered in runs of at most so many pages, each a mapping of its own in this process."""


@dataclass(slots=True)
class _Grant:
    page: int
    domid: int
    readonly: bool
    mapped: int = 0
    ended: bool = False


class GuestMemory:
    """One domain's pages and grant table."""

    def __init__(self, domid: int) -> None:
        self.domid = domid
        self.map_seconds = 0.0
        """How long a backend's mapping of our pages takes."""
        self.deferred: list[int] = []
        self._fd = memory_file(f"sim-dom{domid}", GUEST_PAGES * PAGE)
        self._next_page = 0
        self._next_ref = FIRST_REF
        self._grants: dict[int, _Grant] = {}
        self._random = random.Random(domid)
        self._present = threading.Event()
        self._present.set()
        self._lock = threading.Lock()

    # The guest's side

    def allocate(self, count: int) -> list[int]:
        """Zeroed pages, in runs of random length and order."""
        pages = range(self._next_page, self._next_page + count)
        self._next_page += count
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

    def grant(self, page: int, domid: int, *, readonly: bool = False) -> int:
        """Let ``domid`` map ``page``; returns the reference."""
        with self._lock:
            ref = self._next_ref
            self._next_ref += 1
            self._grants[ref] = _Grant(page, domid, readonly)
            return ref

    def end_access(self, ref: int) -> None:
        with self._lock:
            grant = self._grants[ref]
            grant.ended = True
            if grant.mapped:
                self.deferred.append(ref)
            else:
                del self._grants[ref]

    def page_out(self) -> None:
        """Mappings of our pages block from now on: libxengnttab retries EAGAIN without end."""
        self._present.clear()

    def page_in(self) -> None:
        self._present.set()

    def close(self) -> None:
        """The domain is gone; what is mapped stays readable until it is unmapped."""
        self.page_in()
        with self._lock:
            self._grants = {ref: grant for ref, grant in self._grants.items() if grant.mapped}
            for grant in self._grants.values():
                grant.ended = True
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    # The backend's side

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> PageMapping | None:
        """Map ``refs`` for ``domid``; None if one is invalid. Blocking."""
        self._present.wait()
        if self.map_seconds:
            time.sleep(self.map_seconds)
        with self._lock:
            grants = [self._grants.get(ref) for ref in refs]
            pages: list[int] = []
            for grant in grants:
                if grant is None or grant.ended or grant.domid != domid:
                    return None
                if grant.readonly and writable:
                    return None
                pages.append(grant.page)
            mapping = PageMapping(self._fd, pages, writable=writable)
            for ref in refs:
                self._grants[ref].mapped += 1
            return mapping

    def unmapped(self, refs: Sequence[int]) -> None:
        with self._lock:
            for ref in refs:
                grant = self._grants[ref]
                grant.mapped -= 1
                if grant.ended and not grant.mapped:
                    del self._grants[ref]


class SimGrantMapping:
    """Fulfils :class:`xendisplback.host.GrantMapping`."""

    def __init__(
        self, machine: MachineMemory, memory: GuestMemory, refs: Sequence[int], pages: PageMapping
    ) -> None:
        self._machine = machine
        self._memory = memory
        self._refs = tuple(refs)
        self._pages = pages
        self._open = True

    @property
    def address(self) -> int:
        return self._pages.address

    @property
    def length(self) -> int:
        return self._pages.length

    def close(self) -> None:
        if self._open:
            self._open = False
            self._pages.close()
            self._memory.unmapped(self._refs)
            self._machine.count(self._memory.domid, -len(self._refs))


class MachineMemory:
    """All domains' memory, and what is mapped of it."""

    def __init__(self) -> None:
        self._domains: dict[int, GuestMemory] = {}
        self._mapped: Counter[int] = Counter()
        self._lock = threading.Lock()

    def create(self, domid: int) -> GuestMemory:
        memory = self._domains[domid] = GuestMemory(domid)
        return memory

    def destroy(self, domid: int) -> None:
        self._domains.pop(domid).close()

    def mapped(self, domid: int | None = None) -> int:
        """Grants mapped now, of one domain or of all."""
        with self._lock:
            return self._mapped.total() if domid is None else self._mapped[domid]

    def count(self, domid: int, difference: int) -> None:
        with self._lock:
            self._mapped[domid] += difference

    def map(
        self, mapper: int, domid: int, refs: Sequence[int], *, writable: bool
    ) -> SimGrantMapping:
        """Blocking. Raises HostError EINVAL for what can't be mapped, as gntdev does."""
        memory = self._domains.get(domid)
        pages = None if memory is None else memory.map(mapper, refs, writable=writable)
        if memory is None or pages is None:
            raise HostError(
                f"domain {domid} granted no such {len(refs)} pages",
                call="xengnttab_map_domain_grant_refs",
                errno=errno.EINVAL,
            )
        self.count(domid, len(refs))
        return SimGrantMapping(self, memory, refs, pages)


class SimGrantTable:
    """Fulfils :class:`xendisplback.host.GrantTable` for the domain ``mapper``."""

    def __init__(self, machine: MachineMemory, mapper: int) -> None:
        self._machine = machine
        self._mapper = mapper

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> SimGrantMapping:
        return self._machine.map(self._mapper, domid, refs, writable=writable)

    def close(self) -> None:
        """Mappings outlive the handle, as they outlive gntdev's."""
