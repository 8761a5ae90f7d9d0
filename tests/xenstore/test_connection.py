# SPDX-License-Identifier: GPL-2.0-or-later
"""How a connection begins and ends, with stores that misbehave."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from xendisplback.errors import HostError
from xendisplback.xen import store_transport
from xendisplback.xen.store import StoreClosed, Transaction, XenStore
from xendisplback.xen.store_wire import Decoder, Operation

from .server import Xenstored

SECONDS = 10
HEADER = struct.Struct("=IIII")

Script = Callable[[trio.SocketStream], Awaitable[None]]


async def expect_closed(store: XenStore) -> None:
    for call in (store.read("/a"), store.write("/a", ""), store.directory("/"), store.get("/a")):
        with pytest.raises(StoreClosed):
            await call


# The real store


async def test_the_stores_death_ends_everything(xenstored: Xenstored) -> None:
    ended: list[str] = []

    async def iterate(store: XenStore) -> None:
        async with store.watch("/a") as watch:
            assert await anext(watch) == "/a"
            with pytest.raises(StoreClosed):
                await anext(watch)
            with pytest.raises(StoreClosed):
                await anext(watch)
        ended.append("watch")

    async def read(store: XenStore) -> None:
        with pytest.raises(StoreClosed):
            await store.read("/a")
        ended.append("read")

    async def transact(store: XenStore) -> None:
        async def body(tx: Transaction) -> None:
            await tx.write("/b", "1")
            await trio.sleep(0.2)

        with pytest.raises(StoreClosed):
            await store.transact(body)
        ended.append("transaction")

    with trio.fail_after(SECONDS):
        async with XenStore.connect(xenstored.socket_path) as store:
            await store.write("/a", "1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(iterate, store)
                nursery.start_soon(transact, store)
                await wait_all_tasks_blocked(0.05)
                xenstored.process.send_signal(signal.SIGSTOP)  # requests stay without an answer
                for _ in range(3):
                    nursery.start_soon(read, store)
                await wait_all_tasks_blocked()
                xenstored.kill()
            await expect_closed(store)
    assert sorted(ended) == ["read", "read", "read", "transaction", "watch"]


async def test_a_store_that_stands_still_does_not_hold_up_the_end(xenstored: Xenstored) -> None:
    async def hold(store: XenStore) -> None:
        async with store.watch("/a") as watch:
            async for _ in watch:
                pass

    async def keep_transacting(store: XenStore) -> None:
        async def body(tx: Transaction) -> None:
            await tx.write("/b", "1")

        while True:
            await store.transact(body)

    async def flood(store: XenStore) -> None:
        await store.write("/c", "x" * 4000)

    started = 0.0
    with trio.fail_after(SECONDS):
        async with XenStore.connect(xenstored.socket_path) as store:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(hold, store)
                    nursery.start_soon(keep_transacting, store)
                    await trio.sleep(0.05)
                    xenstored.process.send_signal(signal.SIGSTOP)
                    # More than a socket holds, so that a packet is left half sent.
                    for _ in range(200):
                        nursery.start_soon(flood, store)
                    await wait_all_tasks_blocked()
                    started = trio.current_time()
                    scope.cancel()
        assert trio.current_time() - started < 4.0
        xenstored.kill()


async def test_requests_that_were_never_sent_end_with_the_store(xenstored: Xenstored) -> None:
    ended = 0

    async def write(store: XenStore) -> None:
        nonlocal ended
        with pytest.raises(StoreClosed):
            await store.write("/c", "x" * 4000)
        ended += 1

    with trio.fail_after(SECONDS):
        async with XenStore.connect(xenstored.socket_path) as store:
            xenstored.process.send_signal(signal.SIGSTOP)
            async with trio.open_nursery() as nursery:
                for _ in range(200):
                    nursery.start_soon(write, store)
                await wait_all_tasks_blocked()
                xenstored.kill()
    assert ended == 200


async def test_after_the_block_nothing_can_be_asked(xenstored: Xenstored) -> None:
    with trio.fail_after(SECONDS):
        async with XenStore.connect(xenstored.socket_path) as store:
            await store.write("/a", "1")
        await expect_closed(store)


async def test_the_callers_exception_comes_out_as_it_is(xenstored: Xenstored) -> None:
    error = KeyError("mine")
    with trio.fail_after(SECONDS):
        with pytest.raises(KeyError) as caught:
            async with XenStore.connect(xenstored.socket_path):
                raise error
    assert caught.value is error


async def test_a_cancellation_in_the_block_is_not_lost(xenstored: Xenstored) -> None:
    passed_the_block = False
    with trio.fail_after(SECONDS), trio.CancelScope() as scope:
        async with XenStore.connect(xenstored.socket_path):
            scope.cancel()
            await trio.sleep_forever()
        passed_the_block = True
    assert scope.cancelled_caught
    assert not passed_the_block


async def test_an_exception_beside_a_cancellation_comes_out(xenstored: Xenstored) -> None:
    async def fail_when_cancelled(scope: trio.CancelScope) -> None:
        async with XenStore.connect(xenstored.socket_path):
            scope.cancel()
            raise KeyError("mine")

    with (
        trio.fail_after(SECONDS),
        trio.CancelScope() as scope,
        pytest.raises(KeyError, match="mine"),
    ):
        await fail_when_cancelled(scope)


# Stores that misbehave


@asynccontextmanager
async def scripted(directory: Path, script: Script) -> AsyncGenerator[XenStore]:
    """A connection to a server that runs ``script``, which sees the raw stream."""
    path = str(directory / "s")
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listener.bind(path)
    listener.listen()

    async def serve() -> None:
        accepted, _ = await listener.accept()
        async with trio.SocketStream(accepted) as stream:
            await script(stream)

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with XenStore.connect(path) as store:
                yield store
            nursery.cancel_scope.cancel()


def reply(operation: int, req_id: int, payload: bytes) -> bytes:
    return HEADER.pack(operation, req_id, 0, len(payload)) + payload


async def requested(stream: trio.SocketStream, count: int = 1) -> list[int]:
    """The ids of the next ``count`` requests."""
    decoder, ids = Decoder(), list[int]()
    while len(ids) < count:
        ids += [packet.rq_id for packet in decoder.feed(bytes(await stream.receive_some()))]
    return ids


async def test_replies_in_pieces_and_in_any_order(tmp_path: Path) -> None:
    async def script(stream: trio.SocketStream) -> None:
        ids = await requested(stream, 3)
        data = b"".join(reply(Operation.READ, req_id, b"%d" % req_id) for req_id in reversed(ids))
        for byte in data:
            await stream.send_all(bytes([byte]))
        await trio.sleep_forever()

    values: list[bytes] = []

    async def read(store: XenStore) -> None:
        values.append(await store.read("/a"))

    with trio.fail_after(SECONDS):
        async with scripted(tmp_path, script) as store, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read, store)
    assert sorted(values) == [b"1", b"2", b"3"]


async def test_an_answer_to_nobody_and_an_event_for_nobody_are_ignored(tmp_path: Path) -> None:
    async def script(stream: trio.SocketStream) -> None:
        [req_id] = await requested(stream)
        await stream.send_all(
            reply(Operation.READ, req_id + 7, b"not yours")
            + reply(Operation.WATCH_EVENT, 0, b"/a\0no-such-token\0")
            + reply(Operation.READ, req_id, b"yours")
        )
        await trio.sleep_forever()

    with trio.fail_after(SECONDS):
        async with scripted(tmp_path, script) as store:
            assert await store.read("/a") == b"yours"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HEADER.pack(Operation.READ, 1, 0, 10) + b"half", id="half a packet"),
        pytest.param(b"\x02", id="half a header"),
        pytest.param(b"", id="silence"),
    ],
)
async def test_the_end_of_the_stream_ends_the_connection(tmp_path: Path, answer: bytes) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await requested(stream)
        await stream.send_all(answer)

    with trio.fail_after(SECONDS):
        async with scripted(tmp_path, script) as store:
            with pytest.raises(StoreClosed):
                await store.read("/a")
            await expect_closed(store)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HEADER.pack(Operation.READ, 1, 0, 4097), id="a length over the limit"),
        pytest.param(HEADER.pack(Operation.READ, 1, 0, 0xFFFFFFFF), id="an absurd length"),
        pytest.param(reply(Operation.WRITE, 1, b"OK\0"), id="the answer to another operation"),
        pytest.param(reply(99, 1, b""), id="an unknown operation"),
        pytest.param(reply(Operation.WATCH_EVENT, 0, b"/a\0"), id="an event without a token"),
    ],
)
async def test_a_broken_stream_ends_the_connection(tmp_path: Path, answer: bytes) -> None:
    async def script(stream: trio.SocketStream) -> None:
        await requested(stream)
        await stream.send_all(answer)
        await trio.sleep_forever()

    with trio.fail_after(SECONDS):
        async with scripted(tmp_path, script) as store:
            with pytest.raises(StoreClosed):
                await store.read("/a")
            await expect_closed(store)


async def test_a_flood_of_events_does_not_starve_other_tasks(tmp_path: Path) -> None:
    flood = reply(Operation.WATCH_EVENT, 0, b"/a\0no-such-token\0") * 5000
    stop = threading.Event()

    def send_flood(connection: socket.socket) -> None:
        deadline = time.monotonic() + 5.0
        while not stop.is_set() and time.monotonic() < deadline:
            connection.sendall(flood)

    async def script(stream: trio.SocketStream) -> None:
        with socket.socket(fileno=os.dup(stream.socket.fileno())) as connection:
            connection.setblocking(True)
            try:
                await trio.to_thread.run_sync(send_flood, connection)
            finally:
                connection.setblocking(False)

    with trio.fail_after(SECONDS):
        async with scripted(tmp_path, script):
            started = time.monotonic()
            for _ in range(20):
                await trio.sleep(0.001)
            stop.set()
            assert time.monotonic() - started < 2.5


async def test_an_error_without_a_number_is_an_io_error(tmp_path: Path) -> None:
    async def script(stream: trio.SocketStream) -> None:
        for name in (b"EWHATEVER\0", b"\xff\0", b"EACCES\0"):
            [req_id] = await requested(stream)
            await stream.send_all(reply(Operation.ERROR, req_id, name))
        await trio.sleep_forever()

    numbers: list[int | None] = []
    with trio.fail_after(SECONDS):
        async with scripted(tmp_path, script) as store:
            for _ in range(3):
                with pytest.raises(HostError) as refused:
                    await store.read("/a")
                numbers.append(refused.value.errno)
    assert numbers == [errno.EIO, errno.EIO, errno.EACCES]


# No store


async def connect_error(path: str | None = None) -> HostError:
    with trio.fail_after(SECONDS), pytest.raises(HostError) as refused:
        async with XenStore.connect(path):
            pass
    return refused.value


@pytest.fixture
def no_xen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Xen: where a socket and a device would be."""
    monkeypatch.delenv("XENSTORED_PATH", raising=False)
    monkeypatch.setattr(store_transport, "SOCKETS", (str(tmp_path / "socket"),))
    monkeypatch.setattr(store_transport, "DEVICE", str(tmp_path / "xenbus"))
    return tmp_path


async def test_without_xen_the_message_points_to_the_demo(no_xen: Path) -> None:
    error = await connect_error()
    assert f"no Xen here: {no_xen}/xenbus missing" in str(error)
    assert "xendisplback demo" in str(error)


async def test_a_socket_that_nobody_serves_gives_way_to_the_device(no_xen: Path) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as abandoned:
        await abandoned.bind(str(no_xen / "socket"))
    assert f"{no_xen}/xenbus missing" in str(await connect_error())


async def test_the_environment_names_the_store(
    no_xen: Path, xenstored: Xenstored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XENSTORED_PATH", xenstored.socket_path)
    with trio.fail_after(SECONDS):
        async with XenStore.connect() as store:
            assert await store.is_introduced(0)
    monkeypatch.setenv("XENSTORED_PATH", str(no_xen / "elsewhere"))
    assert f"{no_xen}/elsewhere" in str(await connect_error())


async def test_no_permission_names_the_file(no_xen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may do everything, so the refusal is made here."""

    def refuse(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    (no_xen / "xenbus").touch()
    monkeypatch.setattr(os, "open", refuse)
    error = await connect_error()
    assert error.errno == errno.EACCES
    assert f"no permission on {no_xen}/xenbus" in str(error)
