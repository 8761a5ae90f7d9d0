# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

import errno

import pytest
import trio

from xendisplback.xen.store import Permission, StoreError, Transaction, XenStore

from .peer import Peer

SECONDS = 10


async def test_what_we_write_another_client_reads(store: XenStore, peer: Peer) -> None:
    with trio.fail_after(SECONDS):
        await store.write("/local/domain/0/x", "1920x1080")
        assert await peer.read(b"/local/domain/0/x") == b"1920x1080"
        assert await peer.children(b"/local/domain/0") == [b"x"]


async def test_what_another_client_writes_we_read(store: XenStore, peer: Peer) -> None:
    with trio.fail_after(SECONDS):
        await peer.write(b"/a/b", b"value")
        assert await store.read("/a/b") == b"value"
        assert await store.get("/a/b") == "value"
        assert await store.directory("/a") == ["b"]


@pytest.mark.parametrize("value", [b"", b"\xff\xfe\0\n", "Zürich".encode(), bytes(range(256))])
async def test_any_bytes_are_a_value(store: XenStore, value: bytes) -> None:
    with trio.fail_after(SECONDS):
        await store.write("/a", value)
        assert await store.read("/a") == value


async def test_text_never_fails_to_decode(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        await store.write("/a", b"4\xff\xc3\xbc")
        assert await store.get("/a") == "4\\xff\u00fc"


async def test_missing_nodes(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        with pytest.raises(StoreError) as refused:
            await store.read("/no/such")
        assert refused.value.errno == errno.ENOENT
        assert refused.value.call == "XS_READ"
        assert refused.value.path == "/no/such"
        assert "/no/such" in str(refused.value)
        assert await store.get("/no/such") is None
        assert await store.directory("/no/such") == []


async def test_mkdir_and_remove(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        await store.mkdir("/a/b/c")
        await store.mkdir("/a/b/c")
        assert await store.directory("/a/b") == ["c"]
        assert await store.directory("/a/b/c") == []
        await store.remove("/a/b")
        await store.remove("/a/b")
        assert await store.directory("/a") == []
        with pytest.raises(StoreError) as refused:
            await store.remove("/missing/node")
        assert refused.value.errno == errno.ENOENT


async def test_permissions_are_the_stores(store: XenStore, peer: Peer) -> None:
    with trio.fail_after(SECONDS):
        await store.write("/a", "1")
        await store.set_permissions("/a", [Permission(0, "n"), Permission(2, "r")])
        assert await peer.permissions(b"/a") == [b"n0", b"r2"]
        await peer.set_permissions(b"/a", b"b0", b"w3")
        assert await store.permissions("/a") == [Permission(0, "b"), Permission(3, "w")]


@pytest.mark.parametrize("permissions", [[], [Permission(0, "x")], [Permission(-1, "r")]])
async def test_what_is_no_permission_is_refused(
    store: XenStore, permissions: list[Permission]
) -> None:
    with trio.fail_after(SECONDS):
        await store.write("/a", "1")
        with pytest.raises(StoreError) as refused:
            await store.set_permissions("/a", permissions)
        assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize("path", ["", "/a/", "//a", "/a b", "/ü", "/a\n", "/a\0", "/" + "a" * 3072])
async def test_what_is_no_path_is_refused_and_the_connection_lives(
    store: XenStore, path: str
) -> None:
    with trio.fail_after(SECONDS):
        with pytest.raises(StoreError) as refused:
            await store.write(path, "1")
        assert refused.value.errno == errno.EINVAL
        with pytest.raises(StoreError):
            async with store.watch(path):
                pass
        assert await store.directory("/") == ["tool"]


async def test_a_value_that_does_not_fit_a_packet_is_refused_and_the_connection_lives(
    store: XenStore,
) -> None:
    with trio.fail_after(SECONDS):
        with pytest.raises(StoreError) as refused:
            await store.write("/a", b"x" * 4096)
        assert refused.value.errno == errno.E2BIG
        assert await store.get("/a") is None


async def test_a_directory_larger_than_a_packet(store: XenStore, peer: Peer) -> None:
    names = [f"a-rather-long-name-for-a-node-{number}" for number in range(400)]

    async def fill() -> None:
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(store.write, f"/big/{name}", "")

    with trio.fail_after(SECONDS):
        await fill()
        assert sorted(await store.directory("/big")) == sorted(names)


async def test_a_large_directory_that_changes_meanwhile_is_never_mixed(store: XenStore) -> None:
    """Two sets of names take turns, each as a whole; a reader sees the one or the other."""
    sets = [{f"{letter}-rather-long-name-for-a-node-{n}" for n in range(200)} for letter in "xy"]

    async def replace(names: set[str]) -> None:
        async def body(tx: Transaction) -> None:
            await tx.remove("/big")
            for name in names:
                await tx.mkdir(f"/big/{name}")

        await store.transact(body)

    seen: list[set[str]] = []
    with trio.fail_after(SECONDS):
        await store.mkdir("/big")
        await replace(sets[0])
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                while True:
                    seen.append(set(await store.directory("/big")))

            nursery.start_soon(read)
            for turn in range(4):
                await replace(sets[(turn + 1) % 2])
            nursery.cancel_scope.cancel()
    assert len(seen) > 4
    assert all(names in sets for names in seen)


async def test_domains(store: XenStore) -> None:
    with trio.fail_after(SECONDS):
        assert await store.domain_path(7) == "/local/domain/7"
        assert await store.is_introduced(0)
        assert not await store.is_introduced(7)


async def test_two_hundred_requests_at_once(store: XenStore) -> None:
    found: dict[int, str | None] = {}

    async def use(number: int) -> None:
        await store.write(f"/n/{number}", str(number))
        found[number] = await store.get(f"/n/{number}")

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(use, number)
    assert found == {number: str(number) for number in range(200)}


async def test_cancelled_requests_do_not_disturb_the_others(store: XenStore) -> None:
    async def read(number: int) -> None:
        assert await store.read(f"/n/{number}") == str(number).encode()

    with trio.fail_after(SECONDS):
        for number in range(50):
            await store.write(f"/n/{number}", str(number))
        for _ in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    for number in range(50):
                        nursery.start_soon(read, number)
                    # One turn of the loop: sent, not answered.
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            assert scope.cancelled_caught
            await read(7)
