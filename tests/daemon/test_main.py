# SPDX-License-Identifier: GPL-2.0-or-later
"""Around the daemon: exit codes, signals, what systemd and journald are told."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
import trio

from xendisplback.config import Config
from xendisplback.daemon import main
from xendisplback.daemon.logs import set_level, start_logging
from xendisplback.daemon.notify import feed_watchdog, notify
from xendisplback.daemon.service import Service
from xendisplback.errors import HostError, leaves
from xendisplback.sim.host import SimHost
from xendisplback.xen.store import StoreClosed


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xendisplback", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_a_bad_configuration_exits_with_78_and_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("refesh-rate = 5\n")
    done = command("run", "--config", str(path))
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    assert "unknown key 'refesh-rate'" in line
    assert str(path) in line
    assert "'refresh-rate'" in line


def test_a_usage_error_exits_with_2() -> None:
    assert command("start").returncode == 2


def test_version() -> None:
    assert command("--version").stdout.startswith("xendisplback 0.")


async def signalled(*numbers: signal.Signals, kind: type[Service] = Service) -> Service:
    """A service that :func:`main.run_service` runs while the process gets these signals."""
    with trio.fail_after(20):
        async with SimHost() as host, trio.open_nursery() as nursery:
            service = kind(Config(), host)
            nursery.start_soon(main.run_service, service, None)
            await trio.sleep(0.5)
            for number in numbers:
                os.kill(os.getpid(), number)
                await trio.sleep(0.05)
    return service


async def test_sigterm_ends_the_daemon_in_an_orderly_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "xendisplback"):
        await signalled(signal.SIGTERM)
    assert "SIGTERM: closing all frontends" in caplog.text
    assert "stopped" in caplog.text


@pytest.fixture
def config_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    path = tmp_path / "config.toml"
    monkeypatch.setattr("xendisplback.config.DEFAULT_PATH", path)
    logger = logging.getLogger("xendisplback")
    before = logger.level
    yield path
    logger.setLevel(before)


class Reloaded(Service):
    """Notes what it is to take over."""

    taken: ClassVar[list[Config]] = []

    async def reload(self, config: Config) -> None:
        if config.route:
            raise HostError("no output A")
        self.taken.append(config)


async def test_sighup_reads_the_configuration_anew(config_file: Path) -> None:
    Reloaded.taken.clear()
    config_file.write_text('log-level = "debug"\n[output.A]\nfit = "scale"\n')
    await signalled(signal.SIGHUP, signal.SIGTERM, kind=Reloaded)
    assert logging.getLogger("xendisplback").level == logging.DEBUG
    assert [config.layout.output("A").fit for config in Reloaded.taken] == ["scale"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('log-level = "loud"\n', "log-level"),
        ('log-level = "error"\n[route]\nlinux1 = ["A"]\n', "no output A"),
    ],
)
async def test_after_sighup_nothing_changes_where_something_is_wrong(
    config_file: Path, caplog: pytest.LogCaptureFixture, text: str, expected: str
) -> None:
    set_level("debug")
    Reloaded.taken.clear()
    config_file.write_text(text)
    await signalled(signal.SIGHUP, signal.SIGTERM, kind=Reloaded)
    assert Reloaded.taken == []
    assert logging.getLogger("xendisplback").level == logging.DEBUG
    assert "SIGHUP: nothing changed" in caplog.text
    assert expected in caplog.text


class SlowlyReloaded(Service):
    async def reload(self, config: Config) -> None:
        await trio.sleep_forever()


async def test_the_end_does_not_wait_for_a_reload(config_file: Path) -> None:
    config_file.write_text("")
    await signalled(signal.SIGHUP, signal.SIGTERM, kind=SlowlyReloaded)


async def lose_the_store() -> None:
    async with SimHost() as host, trio.open_nursery() as nursery:
        await nursery.start(Service(Config(), host).run)
        host.stop_store()


async def test_the_end_of_the_store_ends_the_daemon() -> None:
    with trio.fail_after(20), pytest.raises((HostError, ExceptionGroup)) as caught:
        await lose_the_store()
    assert all(isinstance(error, StoreClosed) for error in leaves(caught.value))


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> socket.socket:
    """A socket that takes the daemon's notifications."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(str(tmp_path / "notify"))
    receiver.settimeout(5)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    return receiver


async def test_systemd_is_told_ready_and_stopping(systemd: socket.socket) -> None:
    with systemd:
        with trio.fail_after(20):
            async with SimHost() as host, trio.open_nursery() as nursery:
                service = Service(Config(), host)
                await nursery.start(service.run)
                assert systemd.recv(100) == b"READY=1"
                service.stop()
        assert systemd.recv(100) == b"STOPPING=1"


async def test_the_watchdog_is_fed_at_half_its_period(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with systemd:
        with trio.move_on_after(0.33):
            await feed_watchdog()
        fed = 0
        systemd.setblocking(False)
        while True:
            try:
                assert systemd.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                break
            fed += 1
        assert 4 <= fed <= 8


def test_without_systemd_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    notify("READY=1")


def test_a_ping_without_descriptors_is_lost_and_nothing_else(systemd: socket.socket) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with systemd:
        resource.setrlimit(resource.RLIMIT_NOFILE, (systemd.fileno() + 1, hard))
        taken: list[int] = []
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.dup(systemd.fileno()))
            notify("WATCHDOG=1")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in taken:
                os.close(fd)
        notify("WATCHDOG=1")
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_journald_gets_a_priority_on_every_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    logger = logging.getLogger("xendisplback")
    handlers, level = list(logger.handlers), logger.level
    try:
        start_logging("warning")
        logger.info("not shown")
        logger.error("two\nlines")
        set_level("info")
        logger.info("shown")
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    assert capsys.readouterr().err.splitlines() == ["<3>two", "<3>lines", "<6>shown"]
