# SPDX-License-Identifier: GPL-2.0-or-later
"""Buffers that we allocate for guests (be-alloc=1), within the operator's budgets.

The best one is a dumb buffer of the card that shows it: contiguous for it, with no copy. It has to have the pitch
that the guest will draw with; where it does not, or where the kernel can't grant it, the guest gets pages of ours,
and its pictures are copied.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

import trio

from xendisplback.config import BackendAllocation
from xendisplback.errors import HostError
from xendisplback.frontend.memory import GrantedMemory
from xendisplback.host import Card, CardMemory, GrantedPages, GrantTable
from xendisplback.protocol.displif import DbufCreate
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import PAGE, buffer_pitch, pages_needed
from xendisplback.protocol.status import Status

logger = logging.getLogger(__name__)

PAGES_PER_MIB = (1 << 20) // PAGE


class Allocator:
    """One for all guests: it counts."""

    def __init__(self, table: GrantTable, settings: BackendAllocation) -> None:
        self._table = table
        self._settings = settings
        self._pages: Counter[int] = Counter()
        """By domain; under the lock, because memory is given back in worker threads."""
        self._lock = threading.Lock()

    async def allocate(self, domid: int, create: DbufCreate, card: Card | None) -> GrantedMemory:
        """Memory for ``create``, granted to ``domid``; preferably of ``card``.

        Raises RequestError: EACCES where it is not allowed, ENOSPC over a budget. HostError: no memory.
        """
        pages = pages_needed(create.buffer_sz)
        if not self._settings.per_domain:
            raise RequestError(
                Status.EACCES,
                "DBUF_CREATE: be-alloc=1 is not allowed: set per-domain in [be-alloc] of xendisplback.toml,"
                " or be-alloc=0 in the domain's vdispl line",
            )
        self._take(domid, pages)

        def give_back() -> None:
            with self._lock:
                self._pages[domid] -= pages
                self._pages += Counter()  # drops what is 0

        try:
            return await trio.to_thread.run_sync(self._allocate, domid, create, card, give_back)
        except BaseException:
            give_back()
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
                        f" {what} = {limit} MiB",
                    )
            self._pages[domid] += pages

    def _allocate(
        self, domid: int, create: DbufCreate, card: Card | None, give_back: Callable[[], None]
    ) -> GrantedMemory:
        """Blocking."""
        pages = pages_needed(create.buffer_sz)
        if card is not None:
            try:
                return GrantedMemory(*self._of_card(domid, create, card), create.shape, give_back)
            except HostError as error:
                logger.info(
                    "dom %d: be-alloc=1 without the card's memory, so by copy: %s", domid, error
                )
        shared = self._table.share(domid, pages)
        return GrantedMemory(None, shared, shared.address, create.shape, give_back)

    def _of_card(
        self, domid: int, create: DbufCreate, card: Card
    ) -> tuple[CardMemory, GrantedPages, int]:
        pages, pitch = pages_needed(create.buffer_sz), buffer_pitch(create)
        memory = card.dumb_memory(create.width, create.height, create.bpp)
        try:
            if (memory.pitch, memory.size) != (pitch, pages * PAGE):
                raise HostError(
                    f"{card.driver} allocates {memory.size} bytes in rows of {memory.pitch},"
                    f" the guest draws {pages * PAGE} in rows of {pitch}"
                )
            return memory, self._table.grant(domid, memory.fd, pages), memory.address
        except BaseException:
            memory.close()
            raise
