# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated XenStore against pyxs, an independent client of the real one's protocol."""

from __future__ import annotations

import errno
import importlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import trio
from pyxs import PyXSError

from xendisplback.sim.store_core import StoreCore
from xendisplback.sim.store_server import HEADER, StoreServer
from xendisplback.sim.store_tree import StoreError

SECONDS = 10.0


Names = list[bytes]


class Monitor(Protocol):
    def watch(self, path: bytes, token: bytes) -> None: ...
    def wait(self) -> Iterator[tuple[bytes, bytes]]: ...


class Peer(Protocol):
    """pyxs.Client, which has no annotations."""

    def __enter__(self) -> Peer: ...
    def __exit__(self, *error: object) -> None: ...
    def read(self, path: bytes) -> bytes: ...
    def write(self, path: bytes, value: bytes) -> None: ...
    def mkdir(self, path: bytes) -> None: ...
    def delete(self, path: bytes) -> None: ...
    def list(self, path: bytes) -> Names: ...
    def exists(self, path: bytes) -> bool: ...
    def get_perms(self, path: bytes) -> Names: ...
    def set_perms(self, path: bytes, permissions: Names) -> None: ...
    def transaction(self) -> None: ...
    def commit(self) -> bool: ...
    def monitor(self) -> Monitor: ...


def peer(server: StoreServer, domid: int = 0) -> Peer:
    module: Any = importlib.import_module("pyxs.client")
    client: Peer = module.Client(unix_socket_path=str(server.socket_path(domid)))
    return client


@pytest.fixture
def core() -> StoreCore:
    return StoreCore()


@pytest.fixture
def server(core: StoreCore, tmp_path: Path) -> Iterator[StoreServer]:
    server = StoreServer(core, tmp_path)
    core.introduce(5)
    server.start((0, 5))
    yield server
    server.stop()


T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> T:
    """pyxs can wait for ever: bound it."""
    results: queue.SimpleQueue[T | BaseException] = queue.SimpleQueue()

    def target() -> None:
        try:
            results.put(work())
        except BaseException as error:
            results.put(error)

    threading.Thread(target=target, daemon=True).start()
    result = results.get(timeout=SECONDS)
    if isinstance(result, BaseException):
        raise result
    return result


def test_write_read_list_remove(server: StoreServer) -> None:
    def work() -> None:
        with peer(server) as client:
            assert client.read(b"domid") == b"0"
            client.write(b"/tool/a/b", b"value")
            assert client.read(b"/tool/a/b") == b"value"
            assert client.list(b"/tool/a") == [b"b"]
            assert client.get_perms(b"/tool/a/b") == [b"n0"]
            client.delete(b"/tool/a")
            assert not client.exists(b"/tool/a/b")

    in_thread(work)


def test_guest_sees_only_what_it_may(server: StoreServer) -> None:
    def work() -> None:
        path = b"/local/domain/5/device/vdispl/0"
        dom0 = peer(server)
        guest = peer(server, 5)
        with dom0, guest:
            dom0.mkdir(path)
            dom0.set_perms(path, [b"n5", b"r0"])
            dom0.write(path + b"/backend", b"x")
            dom0.write(b"/tool/secret", b"x")
            for denied in (b"/tool/secret", b"/tool/absent"):
                with pytest.raises(PyXSError) as caught:
                    guest.read(denied)
                assert caught.value.args[0] == errno.EACCES
            guest.write(b"device/vdispl/0/state", b"3")
            assert dom0.read(path + b"/state") == b"3"
            assert dom0.get_perms(path + b"/state") == [b"n5", b"r0"]
            with pytest.raises(PyXSError) as caught:
                guest.set_perms(path, [b"n0"])
            assert caught.value.args[0] == errno.EPERM
            with pytest.raises(PyXSError) as caught:
                guest.write(b"/local/domain/0/backend", b"x")
            assert caught.value.args[0] == errno.EACCES

    in_thread(work)


def test_transaction_conflicts(server: StoreServer) -> None:
    def work() -> None:
        first = peer(server)
        second = peer(server)
        with first, second:
            first.write(b"/tool/n", b"1")
            first.transaction()
            assert first.read(b"/tool/n") == b"1"
            second.write(b"/tool/n", b"2")
            first.write(b"/tool/m", b"1")
            assert first.commit() is False
            first.transaction()
            first.write(b"/tool/m", b"3")
            assert not second.exists(b"/tool/m")
            assert first.commit() is True
            assert second.read(b"/tool/m") == b"3"

    in_thread(work)


def test_watches(server: StoreServer, core: StoreCore) -> None:
    def work() -> list[tuple[bytes, bytes]]:
        with peer(server) as client:
            monitor = client.monitor()
            monitor.watch(b"/tool/w", b"token")
            events = monitor.wait()
            seen = [next(events)]
            client.write(b"/tool/w/x", b"1")
            seen.append(next(events))
            client.delete(b"/tool")
            seen.append(next(events))
            monitor.watch(b"@releaseDomain", b"r")
            seen.append(next(events))
            core.release(5)
            seen.append(next(events))
            return seen

    assert in_thread(work) == [
        (b"/tool/w", b"token"),
        (b"/tool/w/x", b"token"),
        (b"/tool/w", b"token"),
        (b"@releaseDomain", b"r"),
        (b"@releaseDomain", b"r"),
    ]


def test_release_ends_sessions_and_nodes(server: StoreServer, core: StoreCore) -> None:
    core.session(0, lambda path, token: None).write("/local/domain/5", b"")
    dom0 = core.session(0, lambda path, token: None)
    dom0.set_permissions("/local/domain/5", ["n5"])
    guest = core.session(5, lambda path, token: None)
    guest.write("data/x", b"1")
    core.release(5)
    assert not dom0.is_introduced(5)
    with pytest.raises(StoreError):
        guest.read("data/x")
    with pytest.raises(StoreError, match="ENOENT"):
        dom0.read("/local/domain/5/data/x")


def packet(kind: int, payload: bytes, request_id: int = 7) -> bytes:
    return HEADER.pack(kind, request_id, 0, len(payload)) + payload


async def answer(stream: trio.SocketStream) -> tuple[int, int, bytes]:
    data = b""
    while len(data) < HEADER.size or len(data) < HEADER.size + HEADER.unpack_from(data)[3]:
        received = await stream.receive_some(65536)
        assert received, "the server closed the connection"
        data += received
    kind, request_id, _, length = HEADER.unpack_from(data)
    assert len(data) == HEADER.size + length
    return kind, request_id, data[HEADER.size :]


async def test_big_directory_comes_in_parts(server: StoreServer, core: StoreCore) -> None:
    writer = core.session(0, lambda path, token: None)
    names = [f"a-long-name-to-fill-the-listing-{number}" for number in range(300)]
    for name in names:
        writer.write(f"/tool/big/{name}", b"")
    with trio.fail_after(SECONDS):
        stream = await trio.open_unix_socket(str(server.socket_path(0)))
        async with stream:
            await stream.send_all(packet(1, b"/tool/big\0"))
            assert await answer(stream) == (16, 7, b"E2BIG\0")
            listing = b""
            generations: set[bytes] = set()
            while not listing.endswith(b"\0\0"):
                await stream.send_all(packet(22, b"/tool/big\0%d\0" % len(listing)))
                _, _, part = await answer(stream)
                assert len(part) <= 4096
                generation, _, rest = part.partition(b"\0")
                generations.add(generation)
                listing += rest
    assert len(generations) == 1
    assert listing[:-1] == b"".join(name.encode() + b"\0" for name in names)


@pytest.mark.parametrize(
    ("kind", "payload", "name"),
    [
        (99, b"", b"ENOSYS"),
        (2, b"no//path\0", b"EINVAL"),
        (2, b"/tool/absent\0", b"ENOENT"),
        (4, b"/tool\0", b"EINVAL"),
        (5, b"/tool\0none\0", b"ENOENT"),
        (14, b"/tool\0x1\0", b"EINVAL"),
        (7, b"T\0", b"ENOENT"),
        (13, b"/\0", b"EINVAL"),
    ],
)
async def test_errors(server: StoreServer, kind: int, payload: bytes, name: bytes) -> None:
    with trio.fail_after(SECONDS):
        async with await trio.open_unix_socket(str(server.socket_path(0))) as stream:
            await stream.send_all(packet(kind, payload))
            assert await answer(stream) == (16, 7, name + b"\0")


async def test_oversized_packet_ends_the_connection(server: StoreServer) -> None:
    with trio.fail_after(SECONDS):
        async with await trio.open_unix_socket(str(server.socket_path(0))) as stream:
            await stream.send_all(HEADER.pack(2, 0, 0, 5000))
            assert await stream.receive_some(1) == b""


async def test_server_can_be_stopped_and_started(server: StoreServer) -> None:
    with trio.fail_after(SECONDS):
        async with await trio.open_unix_socket(str(server.socket_path(0))) as stream:
            await trio.to_thread.run_sync(server.stop)
            assert await stream.receive_some(1) == b""
        server.start((0, 5))
        async with await trio.open_unix_socket(str(server.socket_path(0))) as stream:
            await stream.send_all(packet(2, b"domid\0"))
            assert await answer(stream) == (2, 7, b"0")
