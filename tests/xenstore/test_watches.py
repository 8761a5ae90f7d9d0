# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import pytest
import trio

from xendisplback.xen.store import MAX_DISTINCT_PATHS, StoreError, Watch, XenStore
from xendisplback.xen.store_wire import Operation

from .peer import Peer
from .relay import relay_by_socket
from .server import Xenstored

SECONDS = 10


async def waiting_paths(watch: Watch) -> list[str]:
    """What can be read without waiting for the store."""
    paths: list[str] = []
    with trio.move_on_after(0.05):
        while True:
            paths.append(await anext(watch))
    return paths


async def test_the_first_event_is_the_stores_initial_one(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        async with store.watch("/not/there/yet") as watch:
            assert await anext(watch) == "/not/there/yet"


async def test_changes_below_are_told(store: XenStore, peer: Peer) -> None:
    with trio.fail_after(SECONDS):
        async with store.watch("/a") as watch:
            assert await anext(watch) == "/a"
            await peer.write(b"/a/b/state", b"4")
            assert await anext(watch) == "/a/b/state"


async def test_equal_paths_that_wait_are_one_and_order_is_kept(store: XenStore, peer: Peer) -> None:
    with trio.fail_after(SECONDS):
        async with store.watch("/a") as watch:
            assert await anext(watch) == "/a"
            for _ in range(20):
                for name in (b"/a/z", b"/a/y", b"/a/x"):
                    await peer.write(name, b"1")
            await store.get("/a")
            assert await waiting_paths(watch) == ["/a/z", "/a/y", "/a/x"]


async def test_a_change_after_the_reading_is_told_again(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        async with store.watch("/a") as watch:
            assert await anext(watch) == "/a"
            for _ in range(3):
                await store.write("/a", "1")
                assert await anext(watch) == "/a"


async def test_a_flood_of_paths_becomes_the_watchs_own(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        async with store.watch("/a") as watch:
            async with trio.open_nursery() as nursery:
                for number in range(MAX_DISTINCT_PATHS + 10):
                    nursery.start_soon(store.write, f"/a/{number}", "")
            assert await waiting_paths(watch) == ["/a"]
            await store.write("/a/7", "again")
            assert await anext(watch) == "/a/7"


async def test_watches_of_one_path_are_independent(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        async with store.watch("/a") as outer:
            async with store.watch("/a") as inner:
                assert await anext(inner) == "/a"
            assert await anext(outer) == "/a"
            await store.write("/a", "1")
            assert await anext(outer) == "/a"


async def test_the_iteration_ends_with_the_block(store: XenStore) -> None:
    begun, ended = trio.Event(), trio.Event()

    async def read(watch: Watch) -> None:
        async for _ in watch:
            begun.set()
        ended.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery, store.watch("/a") as watch:
            nursery.start_soon(read, watch)
            await begun.wait()
            assert not ended.is_set()
    assert ended.is_set()


async def test_a_refused_watch_leaves_nothing_behind(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        with pytest.raises(StoreError) as refused:
            async with store.watch("@noSuchThing"):
                pass
        assert refused.value.call == "XS_WATCH"
        await store.write("/a", "1")


@pytest.mark.parametrize("packets", range(4))
async def test_cancelled_anywhere_the_store_forgets_the_watch(
    xenstored: Xenstored, packets: int
) -> None:
    with trio.fail_after(SECONDS):
        async with (
            relay_by_socket(xenstored.directory, xenstored.socket_path) as relay,
            XenStore.connect(relay.path) as store,
        ):

            async def hold() -> None:
                async with store.watch("/a") as watch:
                    async for _ in watch:
                        pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(hold)
                await relay.wait_for_packets(packets)
                nursery.cancel_scope.cancel()
            await store.write("/a", "1")
            assert relay.count(Operation.UNWATCH) == relay.count(Operation.WATCH)
