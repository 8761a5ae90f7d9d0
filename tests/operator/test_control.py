# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket's server: what it answers, and that no client can hold it up."""

from __future__ import annotations

import json
import os
import socket
import stat
from array import array
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
import trio.testing

from xendisplback.cli import main
from xendisplback.errors import HostError, leaves
from xendisplback.operator import MAX_LINE
from xendisplback.operator.control import (
    MAX_CLIENTS,
    REPLY_SECONDS,
    REQUEST_SECONDS,
    serve_control,
)
from xendisplback.scanout.layout import GuestName, Place

FRONTENDS = [{"domid": 3, "device": 0}]
LINUX1, LINUX2 = GuestName("linux1"), GuestName("linux2")


class FakeControl:
    def __init__(self) -> None:
        self.routed: list[Mapping[GuestName, tuple[Place, ...] | None]] = []
        self.leases: list[str] = []
        self.busy: trio.Event | None = None
        self.words: dict[str, object] = {"output": {}, "route": {"linux1/0/0": ["A"]}}

    async def route(self, changes: Mapping[GuestName, tuple[Place, ...] | None]) -> None:
        if changes.get(GuestName("nobody")):
            raise HostError("no output A", hint="plug it in")
        if self.busy is not None:
            await self.busy.wait()
        self.routed.append(changes)

    def layout(self) -> Mapping[str, object]:
        return self.words

    async def adopt_lease(self, fd: int, name: str) -> None:
        with open(fd) as file:
            self.leases.append(f"{name}: {file.read()}")


class Server:
    def __init__(self, path: Path, control: FakeControl) -> None:
        self.path = path
        self.control = control

    async def connect(self) -> trio.SocketStream:
        return await trio.open_unix_socket(self.path)

    async def ask(self, request: object) -> dict[str, Any]:
        async with await self.connect() as client:
            return await ask(client, request)


async def ask(client: trio.SocketStream, request: object) -> dict[str, Any]:
    line = request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n"
    await client.send_all(line)
    return await reply(client)


async def reply(client: trio.SocketStream) -> dict[str, Any]:
    read = b""
    while not read.endswith(b"\n"):
        part = await client.receive_some()
        assert part, "closed without an answer"
        read += part
    return cast("dict[str, Any]", json.loads(read))


async def closed(client: trio.SocketStream) -> bool:
    try:
        return await client.receive_some() == b""
    except trio.BrokenResourceError:
        return True


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncGenerator[Server]:
    control = FakeControl()
    path = tmp_path / "run" / "control"
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_control, path, control, lambda: FRONTENDS)
            yield Server(path, control)
            nursery.cancel_scope.cancel()


def route(**routes: object) -> dict[str, object]:
    return {"version": 1, "command": "route", "routes": routes}


async def test_routes_reach_the_daemon_as_names_and_places(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        answer = await server.ask(route(linux1=["A", "B/camera"], linux2="default", linux3=[]))
        assert answer == {"version": 1, "ok": True}
        assert server.control.routed == [
            {
                LINUX1: (Place("A"), Place("B", "camera")),
                LINUX2: None,
                GuestName("linux3"): (),
            }
        ]


async def test_the_layout_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert await server.ask({"version": 1, "command": "layout"}) == {
            "version": 1,
            "ok": True,
            "layout": server.control.words,
        }


async def test_the_commands_and_the_daemon_understand_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lease").write_text("mine")
    async with serving(tmp_path) as server:
        at = ["--socket", str(server.path)]
        with open(tmp_path / "lease") as file:
            lease = ["lease", *at, "--fd", str(file.fileno()), "seat0"]
            assert await trio.to_thread.run_sync(main, lease) == 0
        routes = ["route", *at, "linux1=A/camera,B", "linux2=none", "linux3=default"]
        assert await trio.to_thread.run_sync(main, routes) == 0
        assert await trio.to_thread.run_sync(main, ["layout", *at]) == 0
        assert await trio.to_thread.run_sync(main, ["route", *at, "nobody=A"]) == 1
        assert server.control.leases == ["seat0: mine"]
        assert server.control.routed == [
            {
                LINUX1: (Place("A", "camera"), Place("B")),
                LINUX2: (),
                GuestName("linux3"): None,
            }
        ]
    printed = capsys.readouterr()
    assert printed.out == '[route]\n"linux1/0/0" = ["A"]\n'
    assert printed.err.startswith("xendisplback: no output A; plug it in")


async def test_what_the_daemon_refuses_is_told_with_what_to_do(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, await server.connect() as client:
        answer = await ask(client, route(nobody=["A"]))
        assert answer == {"version": 1, "ok": False, "error": "no output A; plug it in"}
        assert (await ask(client, route(linux1=[])))["ok"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"version": 1, "command": "dance"}, "dance"),
        ({"version": 1, "command": "route"}, "routes"),
        (route(linux1="B"), """linux1/0/0: 'B' is neither a list nor "default\""""),
        (route(linux1=["A B"]), "'A B' is no place"),
        ({"version": 1, "command": "route", "routes": {"a/b": []}}, "'a/b' is no guest"),
        (
            {"version": 1, "command": "route", "routes": {"a": [], "a/0": []}},
            "guest a/0/0 is named twice",
        ),
        ({"version": 1, "command": "layout", "more": 1}, "more"),
        ({"version": 1, "command": "lease", "name": "seat"}, "no file came with the lease"),
        ({"version": 1, "command": "lease", "name": "a b"}, "'a b' is no name"),
    ],
)
async def test_a_request_that_can_not_be_done_only_gets_an_error(
    tmp_path: Path, request_: object, expected: str
) -> None:
    async with serving(tmp_path) as server, await server.connect() as client:
        answer = await ask(client, request_)
        assert not answer["ok"]
        assert expected in answer["error"]
        assert server.control.routed == []
        assert (await ask(client, {"version": 1, "command": "layout"}))["ok"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"hello\n", "no request"),
        (b"\n", "no request"),
        (b"[1]\n", "no request"),
        (b'{"command":"layout"}\n', "version"),
        (b'{"version":1,"command":"\xff"}\n', "no request"),
        (b'{"version":1,"command":"layout","x":' + b"[" * 60000 + b"\n", "no request"),
        (b'{"version":2,"command":"new"}\n', "version 2 is not spoken here, only 1"),
        (b"x" * MAX_LINE, f"no line in the first {MAX_LINE} bytes"),
    ],
)
async def test_garbage_is_answered_and_ends_the_conversation(
    tmp_path: Path, line: bytes, expected: str
) -> None:
    async with serving(tmp_path) as server, await server.connect() as client:
        answer = await ask(client, line)
        assert not answer["ok"]
        assert expected in answer["error"]
        assert await closed(client)


async def test_the_longest_line_is_a_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        line = b'{"version":1,"command":"layout"' + b" " * MAX_LINE
        assert (await server.ask(line[: MAX_LINE - 2] + b"}\n"))["ok"]


async def test_requests_may_come_in_pieces_and_several_at_once(tmp_path: Path) -> None:
    line = json.dumps(route(linux1=[])).encode() + b"\n"
    async with serving(tmp_path) as server, await server.connect() as client:
        await client.send_all(line + line[:7])
        assert (await reply(client))["ok"]
        await client.send_all(line[7:])
        assert (await reply(client))["ok"]
        assert len(server.control.routed) == 2


async def test_what_changes_something_runs_one_at_a_time_and_reading_does_not_wait(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as server, trio.open_nursery() as nursery:
        server.control.busy = trio.Event()
        nursery.start_soon(server.ask, route(linux1=["A"]))
        nursery.start_soon(server.ask, route(linux2=["A"]))
        await trio.sleep(0.1)
        assert (await server.ask({"version": 1, "command": "layout"}))["ok"]
        assert server.control.routed == []
        server.control.busy.set()
    assert len(server.control.routed) == 2


def send_fds(client: trio.SocketStream, line: bytes, fds: list[int]) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))
    with socket.fromfd(client.socket.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        assert sock.sendmsg([line], [rights]) == len(line)


def open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


async def test_a_lease_comes_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "lease").write_text("mine")
    line = json.dumps({"version": 1, "command": "lease", "name": "seat0"}).encode() + b"\n"
    async with serving(tmp_path) as server, await server.connect() as client:
        with open(tmp_path / "lease") as file:
            send_fds(client, line, [file.fileno()])
        assert await reply(client) == {"version": 1, "ok": True}
        assert server.control.leases == ["seat0: mine"]


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_files_that_nobody_asked_for_are_closed(tmp_path: Path, count: int) -> None:
    line = json.dumps({"version": 1, "command": "layout"}).encode() + b"\n"
    async with serving(tmp_path) as server:
        before = open_files()
        async with await server.connect() as client:
            with open("/dev/null") as file:
                send_fds(client, line, [file.fileno()] * count)
            assert (await reply(client))["ok"] == (count == 1)
            if count == 1:
                assert len(open_files()) == len(before) + 2  # Both ends of the connection.
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert open_files() == before


async def test_clients_are_few_and_a_place_becomes_free(tmp_path: Path) -> None:
    request = {"version": 1, "command": "layout"}
    async with serving(tmp_path) as server:
        clients = [await server.connect() for _ in range(MAX_CLIENTS)]
        for client in clients:
            assert (await ask(client, request))["ok"]
        refused = await server.connect()
        assert "16 clients" in (await reply(refused))["error"]
        assert await closed(refused)
        await refused.aclose()
        await clients.pop().aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await server.ask(request))["ok"]
        for client in clients:
            await client.aclose()


async def test_an_idle_client_is_told_and_dropped(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with serving_slowly(tmp_path) as server, await server.connect() as client:
        start = trio.current_time()
        await client.send_all(b'{"version":')
        answer = await reply(client)
        assert "no request within 60 s" in answer["error"]
        assert trio.current_time() - start == pytest.approx(REQUEST_SECONDS, abs=1)
        assert await closed(client)


async def test_a_client_that_takes_no_replies_is_dropped(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    autojump_clock.autojump_threshold = 0.05
    async with serving_slowly(tmp_path) as server, await server.connect() as client:
        server.control.words = {"output": "x" * 10_000_000}
        await client.send_all(b'{"version":1,"command":"layout"}\n')
        await trio.sleep(REPLY_SECONDS + 1)
        read = 0
        while part := await client.receive_some():
            read += len(part)
        assert read < 10_000_000


@asynccontextmanager
async def serving_slowly(tmp_path: Path) -> AsyncGenerator[Server]:
    """For a clock that jumps."""
    async with trio.open_nursery() as nursery:
        server = Server(tmp_path / "control", FakeControl())
        await nursery.start(serve_control, server.path, server.control, list)
        yield server
        nursery.cancel_scope.cancel()


async def test_the_socket_is_its_groups_and_goes_with_the_daemon(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o660
        assert stat.S_IMODE(server.path.parent.stat().st_mode) & 0o027 == 0
    assert not server.path.exists()


async def start(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, path, FakeControl(), list)
        nursery.cancel_scope.cancel()


async def test_what_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    with trio.fail_after(10):
        await start(path)


def full_queue(path: Path) -> list[socket.socket]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(0)
    waiting = socket.socket(socket.AF_UNIX)
    waiting.connect(str(path))
    return [listener, waiting]


def just_listening(path: Path) -> list[socket.socket]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return [listener]


def another_file(path: Path) -> list[socket.socket]:
    path.write_text("precious")
    return []


@pytest.mark.parametrize(
    ("occupy", "expected"),
    [
        (just_listening, "another daemon answers"),
        (full_queue, "another daemon answers"),
        (another_file, "something else is there"),
    ],
)
async def test_what_is_in_use_is_left_alone(
    tmp_path: Path, occupy: Callable[[Path], list[socket.socket]], expected: str
) -> None:
    path = tmp_path / "control"
    sockets = occupy(path)
    inode = path.stat().st_ino
    with trio.fail_after(10), pytest.raises((HostError, ExceptionGroup)) as caught:
        await start(path)
    (error,) = leaves(caught.value)
    assert isinstance(error, HostError)
    assert expected in str(error)
    assert str(path) in str(error)
    assert path.stat().st_ino == inode
    for sock in sockets:
        sock.close()


async def test_a_socket_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises((HostError, ExceptionGroup)) as caught:
        await start(tmp_path / "no" / "such" / "control")
    (error,) = leaves(caught.value)
    assert "control-socket" in str(error)
