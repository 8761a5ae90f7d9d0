# SPDX-License-Identifier: GPL-2.0-or-later
"""Mapping and exporting a guest's pages: in time or undone, and charged for as long as they are held."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
import trio

from xendisplback.config import BudgetSettings
from xendisplback.errors import HostError
from xendisplback.frontend.budget import Budgets, Kind, OverBudget
from xendisplback.frontend.grants import DomainGrants
from xendisplback.host import (
    DmaBuf,
    ExportKind,
    GrantedPages,
    GrantMapping,
    GrantTable,
    SharedPages,
)

DOMID = 3
BUDGETS = Budgets(BudgetSettings())


@pytest.fixture(autouse=True)
def nothing_stays_charged() -> Iterator[None]:
    yield
    # What came too late is given back by a thread that was left behind.
    deadline = time.monotonic() + 5
    while used() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert used() == 0


def used(kind: Kind = Kind.GRANTS) -> int:
    return BUDGETS.used(kind, DOMID)


async def given_back() -> None:
    with trio.fail_after(5):
        while used():
            await trio.sleep(0.01)


def domain_grants(table: GrantTable, budgets: Budgets = BUDGETS) -> DomainGrants:
    return DomainGrants(table, DOMID, budgets.of(DOMID))


class SlowTable:
    """A grant table whose guest is paged out until :attr:`paged_in`."""

    def __init__(self) -> None:
        self.paged_in = threading.Event()
        self.closed = threading.Event()
        self.address = 0
        self.length = 4096
        self.fd = -1

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> GrantMapping:
        assert (domid, list(refs), writable) == (3, [8], False)
        self.paged_in.wait(10)
        return self

    def export(self, domid: int, refs: Sequence[int], kind: ExportKind) -> DmaBuf:
        assert (domid, list(refs), kind) == (3, [8], ExportKind.COHERENT)
        self.paged_in.wait(10)
        return self

    def grant(self, domid: int, dmabuf: int, pages: int) -> GrantedPages:
        raise NotImplementedError

    def share(self, domid: int, pages: int) -> SharedPages:
        raise NotImplementedError

    def share_again(self, fd: int, refs: Sequence[int]) -> SharedPages:
        raise NotImplementedError

    def close(self) -> None:
        self.closed.set()


def soon() -> float:
    return trio.current_time() + 0.05


async def test_a_mapping_in_time_is_returned_open() -> None:
    table = SlowTable()
    table.paged_in.set()
    mapping = await domain_grants(table).map([8], trio.current_time() + 5, writable=False)
    assert mapping.address == table.address
    assert not table.closed.is_set()
    assert used() == 1
    mapping.close()
    assert used() == 0


async def test_a_mapping_that_comes_too_late_is_refused_and_undone() -> None:
    table = SlowTable()
    with trio.fail_after(5):
        with pytest.raises(HostError) as caught:
            await domain_grants(table).map([8], soon(), writable=False)
        assert caught.value.errno == errno.ETIMEDOUT
        table.paged_in.set()
        await trio.to_thread.run_sync(table.closed.wait, 5)
    assert table.closed.is_set()
    await given_back()


async def test_an_export_has_the_same_deadline() -> None:
    table = SlowTable()
    grants = domain_grants(table)
    with trio.fail_after(5):
        with pytest.raises(HostError) as caught:
            await grants.export([8], soon(), ExportKind.COHERENT)
        assert caught.value.call == "xengnttab_dmabuf_exp_from_refs"
        assert caught.value.errno == errno.ETIMEDOUT
        table.paged_in.set()
        await trio.to_thread.run_sync(table.closed.wait, 5)
        assert table.closed.is_set()
        table.closed.clear()
        export = await grants.export([8], trio.current_time() + 5, ExportKind.COHERENT)
    assert not table.closed.is_set()
    assert (used(), used(Kind.MEMORY)) == (1, 1)
    export.close()
    assert (used(), used(Kind.MEMORY)) == (0, 0)


async def test_a_cancelled_mapping_is_undone() -> None:
    table = SlowTable()
    with trio.move_on_after(0.05) as scope:
        await domain_grants(table).map([8], trio.current_time() + 60, writable=False)
    assert scope.cancelled_caught
    table.paged_in.set()
    await trio.to_thread.run_sync(table.closed.wait, 5)
    assert table.closed.is_set()
    await given_back()


async def test_a_paged_out_guest_leaves_no_more_than_its_threads_behind() -> None:
    table = SlowTable()
    grants = domain_grants(table)
    before = threading.active_count()
    limiter = trio.to_thread.current_default_thread_limiter()
    try:
        with trio.fail_after(5):
            for _ in range(10):
                with pytest.raises(HostError):
                    await grants.map([8], soon(), writable=False)
            assert limiter.available_tokens == limiter.total_tokens
        assert threading.active_count() - before <= DomainGrants.MAX_THREADS
    finally:
        table.paged_in.set()


async def test_over_the_budget_nothing_is_mapped_and_nothing_is_taken() -> None:
    table = SlowTable()
    table.paged_in.set()
    budgets = Budgets(BudgetSettings(grants_per_domain=2, memory_per_domain=0))
    grants = domain_grants(table, budgets)
    later = trio.current_time() + 5
    held = [await grants.map([8], later, writable=False) for _ in range(2)]
    with pytest.raises(OverBudget, match=r"1 grants on top of 2 .* grants-per-domain") as caught:
        await grants.map([8], later, writable=False)
    assert not caught.value.known
    with pytest.raises(OverBudget) as again:
        await grants.map([8], later, writable=False)
    assert again.value.known
    held.pop().close()
    with pytest.raises(HostError, match="memory-per-domain"):
        await grants.export([8], later, ExportKind.COHERENT)
    assert budgets.used(Kind.GRANTS, DOMID) == 1
    (await grants.map([8], later, writable=False)).close()
    held.pop().close()
    assert budgets.used(Kind.GRANTS) == 0
