# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's pages, mapped and exported in worker threads, against a deadline and within its budget."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import TypeVar

import trio

from xendisplback.errors import HostError
from xendisplback.frontend.budget import DomainBudget, Kind, OverBudget
from xendisplback.host import DmaBuf, ExportKind, GrantMapping, GrantTable
from xendisplback.scanout.ladder import BUDGET


class _Charge:
    """What one mapping or export takes, until it is freed."""

    def __init__(self, budget: DomainBudget, pages: int, *, memory: bool) -> None:
        """Raises OverBudget."""
        self._budget = budget
        self._taken = [Kind.GRANTS]
        self._pages = pages
        budget.take(Kind.GRANTS, pages)
        if memory:
            try:
                budget.take(Kind.MEMORY, pages)
            except BaseException:
                self.give_back()
                raise
            self._taken.append(Kind.MEMORY)

    def give_back(self) -> None:
        """Idempotent."""
        while self._taken:
            self._budget.give(self._taken.pop(), self._pages)


class _Mapping:
    """Fulfils :class:`xendisplback.host.GrantMapping`."""

    def __init__(self, mapping: GrantMapping, charge: _Charge) -> None:
        self.address, self.length = mapping.address, mapping.length
        self._mapping = mapping
        self._charge = charge

    def close(self) -> None:
        self._mapping.close()
        self._charge.give_back()


class _Export:
    """Fulfils :class:`xendisplback.host.DmaBuf`."""

    def __init__(self, export: DmaBuf, charge: _Charge) -> None:
        self._export = export
        self._charge = charge

    @property
    def fd(self) -> int:
        return self._export.fd

    def close(self) -> None:
        """What can't be released stays charged."""
        self._export.close()
        self._charge.give_back()


Made = TypeVar("Made", _Mapping, _Export)


class DomainGrants:
    """One frontend's way to its guest's pages: mapping in worker threads, against a deadline.

    A guest whose pages are paged out makes libxengnttab wait without bound. The thread is then left behind;
    what it maps in the end is unmapped by it. A frontend has at most ``MAX_THREADS``; trio's own 40 threads are
    left to everyone else.
    """

    MAX_THREADS = 4

    def __init__(self, table: GrantTable, domid: int, budget: DomainBudget) -> None:
        self._table = table
        self._domid = domid
        self._budget = budget
        self._limiter = trio.CapacityLimiter(self.MAX_THREADS)

    async def map(self, refs: Sequence[int], deadline: float, *, writable: bool) -> GrantMapping:
        """Raises OverBudget; HostError: what the kernel says, or ETIMEDOUT at ``deadline`` (trio's clock)."""

        def make() -> _Mapping:
            charge = _Charge(self._budget, len(refs), memory=False)
            try:
                return _Mapping(self._table.map(self._domid, refs, writable=writable), charge)
            except BaseException:
                charge.give_back()
                raise

        return await self._before(deadline, make, len(refs), "xengnttab_map_domain_grant_refs")

    async def export(self, refs: Sequence[int], deadline: float, kind: ExportKind) -> DmaBuf:
        """As :meth:`map`, but over the budget it is HostError too, by ``call``: a copy may do."""

        def make() -> _Export:
            try:
                charge = _Charge(self._budget, len(refs), memory=kind is not ExportKind.PLAIN)
            except OverBudget as error:
                raise HostError(str(error), call=BUDGET, errno=errno.ENOSPC) from error
            try:
                return _Export(self._table.export(self._domid, refs, kind), charge)
            except BaseException:
                charge.give_back()
                raise

        return await self._before(deadline, make, len(refs), "xengnttab_dmabuf_exp_from_refs")

    async def _before(
        self, deadline: float, make: Callable[[], Made], pages: int, call: str
    ) -> Made:
        abandoned = False
        made: Made | None = None

        def work() -> Made:
            nonlocal made
            made = make()
            if abandoned:
                made.close()
            return made

        with trio.move_on_at(deadline):
            try:
                return await trio.to_thread.run_sync(
                    work, abandon_on_cancel=True, limiter=self._limiter
                )
            except trio.Cancelled:
                # Set first, looked at second, as the thread does the other way round: one of us closes it,
                # or both.
                abandoned = True
                if made is not None:
                    made.close()
                raise
        raise HostError(
            f"{pages} pages of domain {self._domid} could not be mapped in time",
            call=call,
            errno=errno.ETIMEDOUT,
            hint="the guest is paged out or paused",
        )
