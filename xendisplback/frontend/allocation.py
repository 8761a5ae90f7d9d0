# SPDX-License-Identifier: GPL-2.0-or-later
"""Buffers that we allocate for guests (be-alloc=1), within the operator's budgets.

The best one is a dumb buffer of the card that shows it: contiguous for it, with no copy. It has to have the pitch
that the guest will draw with; where it does not, or where the kernel can't grant it, the guest gets pages of ours
(gntalloc), and its pictures are copied.

Card memory must not be freed while the guest still maps it, and nobody tells us when it does. Where the memory is
contiguous (CMA), the kernel then frees pages that are in use: ``cma_release()`` warns "pages are still in use",
and dom0's page lists are corrupted (seen on the rig with Linux 7.2: dom0 died of it after an ``xl destroy``, which
closes the backend before it kills the guest). So memory that a guest gives back stays granted, counts, and is
given to the same guest again; it is freed when the domain is gone. Pages of gntalloc are safe to free, but the
kernel has them until the guest unmaps them: they are treated alike, or a guest could have any number of them.
Over our own end systemd holds it all (its fd store): the dma-bufs of a card's memory and the gntdev handle that
keeps their grants, and gntalloc's files.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import trio

from xendisplback.config import BackendAllocation
from xendisplback.errors import HostError
from xendisplback.frontend.earlier_memory import MemoryRecord, map_again
from xendisplback.frontend.journal import JournalMismatch, checksum
from xendisplback.frontend.memory import GrantedMemory
from xendisplback.host import Card, CardMemory, GrantedPages, GrantTable, Host
from xendisplback.kept import KeptMemory, KeptPages, drop_pages, handle_name, keep_pages
from xendisplback.protocol.displif import DbufCreate
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import PAGE, buffer_pitch, pages_needed
from xendisplback.protocol.status import Status
from xendisplback.scanout.ladder import Refusal, Step

logger = logging.getLogger(__name__)

PAGES_PER_MIB: Final = (1 << 20) // PAGE
SETTLE_SECONDS: Final = 2.0
"""XenStore says that a domain is gone when Xen has begun to end it; its mappings go in the same step."""


@dataclass(slots=True)
class _Pool:
    """All memory of one domain; ``table`` is its card memory's own, so that it can be kept and closed with it."""

    table: GrantTable | None = None
    memories: dict[int, GrantedMemory] = field(default_factory=dict[int, GrantedMemory])
    """By number."""
    handles: list[int] = field(default_factory=list[int])
    """Earlier processes' gntdev handles."""
    earlier: dict[int, tuple[int, MemoryRecord]] = field(
        default_factory=dict[int, tuple[int, MemoryRecord]]
    )
    """Of earlier processes, not in use here: the file and what it is, by number."""

    @property
    def next_number(self) -> int:
        return 1 + max([*self.memories, *self.earlier], default=0)


class Allocator:
    """One for all guests."""

    def __init__(
        self,
        host: Host,
        table: GrantTable,
        settings: BackendAllocation,
        kept: Mapping[int, KeptMemory],
    ) -> None:
        """``kept``: what earlier processes left, by domain; ours."""
        self._host = host
        self._table = table
        self._settings = settings
        self._fd_store = host.fd_store()
        self._lock = threading.Lock()
        """For what follows: memory is allocated and given back in worker threads."""
        self._pools: dict[int, _Pool] = {}
        self._pages: Counter[int] = Counter()
        self._settled = False
        self._granting = threading.Lock()
        """Taken before ``_lock``: no pool is made twice, nor freed while something is granted for it."""
        for domid, memory in kept.items():
            pool = self._pools[domid] = _Pool(handles=memory.handles)
            for pages in memory.pages:
                self._enter_earlier(domid, pool, pages)

    def _enter_earlier(self, domid: int, pool: _Pool, pages: KeptPages) -> None:
        try:
            record = MemoryRecord.unpack(pages.record)
        except HostError as error:
            logger.warning("dom %d: not in its budget: %s", domid, error)
            drop_pages(self._fd_store, domid, pages.number)
            os.close(pages.fd)
            return
        pool.earlier[pages.number] = pages.fd, record
        self._pages[domid] += len(record.refs)

    async def allocate(self, domid: int, create: DbufCreate, card: Card | None) -> GrantedMemory:
        """Memory for ``create``, granted to ``domid``; preferably of ``card``.

        Raises RequestError: EACCES where it is not allowed, ENOSPC over a budget. HostError: no memory.
        """
        if not self._settings.per_domain:
            raise RequestError(
                Status.EACCES,
                "DBUF_CREATE: be-alloc=1 is not allowed: set per-domain in [be-alloc] of xendisplback.toml,"
                " or be-alloc=0 in the domain's vdispl line",
            )
        return await trio.to_thread.run_sync(self._allocate, domid, create, card)

    def _allocate(self, domid: int, create: DbufCreate, card: Card | None) -> GrantedMemory:
        """Blocking."""
        return self._again(domid, create, card) or self._new(domid, create, card)

    def _again(self, domid: int, create: DbufCreate, card: Card | None) -> GrantedMemory | None:
        """What the domain had and gave back: still granted to it. Raises HostError."""
        with self._lock:
            pool = self._pools.get(domid)
            for memory in pool.memories.values() if pool is not None else ():
                if memory.free and memory.shape == create.shape and memory.card in (card, None):
                    memory.free = False
                    return memory
        if not self._settled:
            return None
        return self._map_earlier(domid, card, lambda record: record.shape == create.shape)

    def _new(self, domid: int, create: DbufCreate, card: Card | None) -> GrantedMemory:
        if card is None:
            refusal = Refusal(Step.CARD, None, None, "no open card has its output")
        elif not self._fd_store.available:
            refusal = Refusal(Step.CARD, None, None, "no systemd to hold it over our end")
        else:
            try:
                return self._of_card(domid, create, card)
            except HostError as error:
                refusal = Refusal(Step.CARD, error.call, error.errno, error.message)
        return self._of_ours(domid, create, refusal)

    def _of_card(self, domid: int, create: DbufCreate, card: Card) -> GrantedMemory:
        pages = pages_needed(create.buffer_sz)
        with self._budget(domid, pages):
            dumb = _dumb_memory(card, create)
            try:
                with self._granting:
                    granted = self._grant(domid, dumb, pages)
                    memory = GrantedMemory(granted, dumb.address, create.shape, card, dumb)
                    record = MemoryRecord(card.path, create.shape, dumb.size, [*granted.refs])
                    number = self._enter(domid, memory)
                    # Before the guest learns the references.
                    keep_pages(self._fd_store, domid, number, dumb.fd, record.pack())
                    return memory
            except BaseException:
                dumb.close()
                raise

    def _of_ours(self, domid: int, create: DbufCreate, refusal: Refusal) -> GrantedMemory:
        pages = pages_needed(create.buffer_sz)
        with self._budget(domid, pages), self._granting:
            shared = self._table.share(domid, pages)
            memory = GrantedMemory(shared, shared.address, create.shape, refused=[refusal])
            why = refusal.call, refusal.errno, refusal.meaning
            record = MemoryRecord(None, create.shape, shared.length, [*shared.refs], why)
            number = self._enter(domid, memory)
            # Before the guest learns the references.
            keep_pages(self._fd_store, domid, number, shared.fd, record.pack())
            return memory

    def _enter(self, domid: int, memory: GrantedMemory) -> int:
        """Its number."""
        with self._lock:
            pool = self._pools.setdefault(domid, _Pool())
            number = pool.next_number
            pool.memories[number] = memory
        return number

    def _grant(self, domid: int, memory: CardMemory, pages: int) -> GrantedPages:
        with self._lock:
            pool = self._pools.get(domid)
        if pool is not None and pool.table is not None:
            return pool.table.grant(domid, memory.fd, pages)
        table = self._host.grant_table()
        try:
            granted = table.grant(domid, memory.fd, pages)
        except BaseException:
            table.close()
            raise
        # Before the guest learns the references.
        self._fd_store.keep(handle_name(domid), table.fd)
        with self._lock:
            self._pools.setdefault(domid, _Pool()).table = table
        return granted

    @contextmanager
    def _budget(self, domid: int, pages: int) -> Generator[None]:
        """Take ``pages``, for good unless the block raises."""
        self._take(domid, pages)
        try:
            yield
        except BaseException:
            self._pay_back(domid, pages)
            raise

    def _take(self, domid: int, pages: int) -> None:
        settings = self._settings
        with self._lock:
            for what, used, limit in (
                ("per-domain", self._pages[domid], settings.per_domain),
                ("total", self._pages.total(), settings.total),
            ):
                if used + pages > limit * PAGES_PER_MIB:
                    raise RequestError(
                        Status.ENOSPC,
                        f"DBUF_CREATE: {pages} pages on top of {used} are over the budget for be-alloc=1,"
                        f" {what} = {limit} MiB; memory counts until its domain is gone",
                    )
            self._pages[domid] += pages

    def _pay_back(self, domid: int, pages: int) -> None:
        with self._lock:
            self._pages[domid] -= pages
            self._pages += Counter()  # drops what is 0

    # What an earlier process allocated

    async def take_over(
        self, domid: int, create: DbufCreate, references: int, card: Card | None
    ) -> GrantedMemory:
        """What was allocated for ``create``, with that checksum of its references; shown on ``card``.

        Raises JournalMismatch: it is not there. HostError.
        """
        return await trio.to_thread.run_sync(self._take_over, domid, create, references, card)

    def _take_over(
        self, domid: int, create: DbufCreate, references: int, card: Card | None
    ) -> GrantedMemory:
        def fits(record: MemoryRecord) -> bool:
            return record.shape == create.shape and checksum(record.refs) == references

        memory = self._map_earlier(domid, card, fits)
        if memory is None:
            raise JournalMismatch(f"buffer {create.dbuf_cookie:#x}: its memory was not kept")
        return memory

    def settle(self) -> None:
        """Nothing is to be taken over any more: what is left of it the guests gave back."""
        self._settled = True

    def _map_earlier(
        self, domid: int, card: Card | None, fits: Callable[[MemoryRecord], bool]
    ) -> GrantedMemory | None:
        """What an earlier process allocated, of ``card`` or of gntalloc. Raises HostError."""
        with self._granting:
            pool = self._pools.get(domid, _Pool())
            for number, (fd, record) in pool.earlier.items():
                if fits(record) and record.card in (None, card and card.path):
                    memory = map_again(os.dup(fd), record, card, self._table)
                    with self._lock:
                        os.close(pool.earlier.pop(number)[0])
                        pool.memories[number] = memory
                    return memory
        return None

    # The end of a domain

    @property
    def domains(self) -> list[int]:
        """The domains whose end :meth:`domain_gone` is to be told."""
        with self._lock:
            return [*self._pools]

    async def domain_gone(self, domid: int) -> None:
        """Free what was granted to it. Raises HostError."""
        await trio.sleep(SETTLE_SECONDS)
        await trio.to_thread.run_sync(self._free, domid)

    def _free(self, domid: int) -> None:
        with self._granting, ExitStack() as stack:
            with self._lock:
                pool = self._pools.pop(domid, _Pool())
            stack.callback(self._fd_store.drop, handle_name(domid))
            for fd in pool.handles:
                stack.callback(os.close, fd)
            if pool.table is not None:
                stack.callback(pool.table.close)
            for number, (fd, record) in pool.earlier.items():
                stack.callback(self._pay_back, domid, len(record.refs))
                stack.callback(os.close, fd)
                stack.callback(drop_pages, self._fd_store, domid, number)
            for number, memory in pool.memories.items():
                stack.callback(self._pay_back, domid, memory.pages)
                stack.callback(memory.end)
                stack.callback(drop_pages, self._fd_store, domid, number)

    def close(self) -> None:
        """The daemon ends: give up the pages of gntalloc, which the kernel frees when they are unmapped."""
        with ExitStack() as stack:
            for domid, pool in self._pools.items():
                for number, memory in pool.memories.items():
                    if memory.card is None:
                        stack.callback(memory.end)
                        stack.callback(drop_pages, self._fd_store, domid, number)


def _dumb_memory(card: Card, create: DbufCreate) -> CardMemory:
    """Raises HostError, also where it is not laid out as the guest will draw."""
    size, pitch = pages_needed(create.buffer_sz) * PAGE, buffer_pitch(create)
    memory = card.dumb_memory(create.width, create.height, create.bpp)
    if (memory.pitch, memory.size) != (pitch, size):
        memory.close()
        raise HostError(
            f"{card.driver} allocates {memory.size} bytes in rows of {memory.pitch},"
            f" the guest draws {size} in rows of {pitch}"
        )
    return memory
