# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno

import pytest
import trio

from xendisplback.xen.store import TRANSACTION_TRIES, StoreError, Transaction, XenStore

from .peer import Peer
from .relay import relay_by_socket
from .server import Xenstored

SECONDS = 10


async def test_nothing_is_seen_before_the_end(store: XenStore, peer: Peer) -> None:
    async def body(tx: Transaction) -> str:
        await tx.write("/a/x", "1")
        await tx.write("/a/y", "2")
        assert await tx.get("/a/x") == "1"
        assert await store.get("/a/x") is None
        assert await tx.directory("/a") == ["x", "y"]
        return "done"

    with trio.fail_after(SECONDS):
        assert await store.transact(body) == "done"
        assert sorted(await peer.children(b"/a")) == [b"x", b"y"]


async def test_an_exception_of_the_body_undoes_it(store: XenStore) -> None:
    async def body(tx: Transaction) -> None:
        await tx.write("/a", "1")
        raise KeyError("mine")

    with trio.fail_after(SECONDS):
        with pytest.raises(KeyError, match="mine"):
            await store.transact(body)
        assert await store.get("/a") is None


async def test_the_body_runs_again_after_a_conflict(store: XenStore, peer: Peer) -> None:
    runs = 0

    async def body(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        value = int(await tx.read("/counter"))
        if runs <= 2:
            await peer.write(b"/counter", str(value + 10).encode())
        await tx.write("/counter", str(value + 1))

    with trio.fail_after(SECONDS):
        await store.write("/counter", "0")
        await store.transact(body)
        assert runs == 3
        assert await store.get("/counter") == "21"


async def test_concurrent_transactions_lose_no_update(store: XenStore) -> None:
    async def increment(tx: Transaction) -> None:
        await tx.write("/counter", str(int(await tx.read("/counter")) + 1))

    async def many() -> None:
        for _ in range(5):
            await store.transact(increment)

    with trio.fail_after(SECONDS):
        await store.write("/counter", "0")
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(many)
        assert await store.get("/counter") == "40"


async def test_it_gives_up_on_endless_conflicts(store: XenStore) -> None:
    runs = 0

    async def body(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await tx.read("/a")
        await store.write("/a", str(runs))

    with trio.fail_after(SECONDS):
        await store.write("/a", "0")
        with pytest.raises(StoreError) as refused:
            await store.transact(body)
    assert refused.value.errno == errno.EAGAIN
    assert runs == TRANSACTION_TRIES


@pytest.mark.parametrize("packets", range(7))
async def test_cancelled_anywhere_it_leaves_no_transaction_open(
    xenstored: Xenstored, packets: int
) -> None:
    async def body(tx: Transaction) -> None:
        await tx.write("/a", "1")

    with trio.fail_after(SECONDS):
        async with (
            relay_by_socket(xenstored.directory, xenstored.socket_path) as relay,
            XenStore.connect(relay.path) as store,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.transact, body)
                await relay.wait_for_packets(packets)
                nursery.cancel_scope.cancel()
            # Answered in order: whatever was left over is done after these.
            await store.get("/a")
            await store.get("/a")
            assert relay.open_transactions == set()


async def test_cancelled_while_it_commits_it_still_learns_the_outcome(
    xenstored: Xenstored,
) -> None:
    outcomes: list[str] = []

    async with (
        relay_by_socket(xenstored.directory, xenstored.socket_path) as relay,
        XenStore.connect(relay.path) as store,
        trio.open_nursery() as nursery,
    ):

        async def body(tx: Transaction) -> str:
            await tx.write("/a", "1")
            nursery.cancel_scope.cancel()
            return "committed"

        async def run() -> None:
            outcomes.append(await store.transact(body))

        nursery.start_soon(run)
    assert outcomes == ["committed"]
