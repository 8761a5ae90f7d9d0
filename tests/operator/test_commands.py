# SPDX-License-Identifier: GPL-2.0-or-later
"""route, layout and lease as an operator calls them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

MODULES = "import sys, xendisplback.cli; sys.exit(xendisplback.cli.main() or print(*sys.modules))"


class Daemon:
    """Takes one request and gives one answer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answer = b'{"version":1,"ok":true}\n'
        self.request: object = None
        self.files: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        with client:
            line, fds, _, _ = socket.recv_fds(client, 65536, 5)
            for fd in fds:
                with open(fd) as file:
                    self.files.append(file.read())
            if line:
                self.request = json.loads(line)
                client.sendall(self.answer)

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(self.path))
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Generator[Daemon]:
    daemon = Daemon(tmp_path / "control")
    yield daemon
    daemon.close()


def command(*arguments: str, fds: tuple[int, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xendisplback", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        pass_fds=fds,
    )


def test_routes_are_sent_in_one_request(daemon: Daemon) -> None:
    done = command(
        *("route", "--socket", str(daemon.path), "linux1=A/camera,B", "linux2=none"),
        *("linux3/0/1=default", "a=b=C"),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert daemon.request == {
        "version": 1,
        "command": "route",
        "routes": {
            "linux1": ["A/camera", "B"],
            "linux2": [],
            "linux3/0/1": "default",
            "a=b": ["C"],
        },
    }


def test_a_refusal_is_told_and_exits_with_1(daemon: Daemon) -> None:
    daemon.answer = b'{"version":1,"ok":false,"error":"no output A; it is HDMI-A-1"}\n'
    done = command("route", "--socket", str(daemon.path), "linux1=A")
    assert done.returncode == 1
    assert done.stderr.startswith("xendisplback: no output A; it is HDMI-A-1")


@pytest.mark.parametrize("answer", [b"hello\n", b"[]\n", b"\n", b"", b'{"ok"'])
def test_an_answer_that_is_none_exits_with_1(daemon: Daemon, answer: bytes) -> None:
    daemon.answer = answer
    done = command("layout", "--socket", str(daemon.path))
    assert done.returncode == 1
    assert str(daemon.path) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_daemon_it_says_how_to_start_one(tmp_path: Path) -> None:
    path = tmp_path / "control"
    for _ in range(2):
        done = command("layout", "--socket", str(path))
        assert done.returncode == 1
        assert str(path) in done.stderr
        assert "systemctl start xendisplback" in done.stderr
        with socket.socket(socket.AF_UNIX) as dead:  # For the second time.
            path.unlink(missing_ok=True)
            dead.bind(str(path))


@pytest.mark.parametrize(
    "arguments",
    [
        ("route",),
        ("route", "linux1"),
        ("route", "linux1="),
        ("route", "=A"),
        ("route", "linux1=A", "linux1=B"),
        ("lease", "seat0"),
        ("lease", "--fd", "x", "seat0"),
        ("layout", "x"),
    ],
)
def test_a_usage_error_exits_with_2(arguments: tuple[str, ...]) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert "usage:" in done.stderr


WORDS = {"output": {"A": {"fit": "center", "connected": False}}, "route": {"linux1/0/0": ["A"]}}


def test_the_layout_is_printed_as_a_configuration(daemon: Daemon) -> None:
    daemon.answer = json.dumps({"version": 1, "ok": True, "layout": WORDS}).encode() + b"\n"
    done = command("layout", "--socket", str(daemon.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        '[output.A]\n# not connected, dark\nfit = "center"\n\n[route]\n"linux1/0/0" = ["A"]\n'
    )


def test_the_layout_is_printed_for_programs(daemon: Daemon) -> None:
    daemon.answer = json.dumps({"version": 1, "ok": True, "layout": WORDS}).encode() + b"\n"
    done = command("layout", "--json", "--socket", str(daemon.path))
    assert json.loads(done.stdout) == WORDS


def test_a_lease_is_sent_with_its_name(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "lease").write_text("mine")
    with open(tmp_path / "lease") as file:
        fd = file.fileno()
        done = command("lease", "--socket", str(daemon.path), "--fd", str(fd), "seat0", fds=(fd,))
    assert (done.returncode, done.stderr) == (0, "")
    assert daemon.request == {"version": 1, "command": "lease", "name": "seat0"}
    assert daemon.files == ["mine"]


@pytest.mark.parametrize("fd", ["99", "-1", "99999999999999999999"])
def test_a_lease_that_is_not_open_is_told(tmp_path: Path, fd: str) -> None:
    done = command("lease", "--socket", str(tmp_path / "none"), "--fd", fd, "seat0")
    assert done.returncode == 1
    assert f"no file is open as {fd}" in done.stderr


def test_asking_imports_neither_trio_nor_msgspec(daemon: Daemon) -> None:
    daemon.answer = json.dumps({"version": 1, "ok": True, "layout": WORDS}).encode() + b"\n"
    done = subprocess.run(
        [sys.executable, "-c", MODULES, "layout", "--socket", str(daemon.path)],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    modules = done.stdout.splitlines()[-1].split()
    assert "xendisplback.operator.words" in modules
    assert not {"trio", "msgspec", "cffi", "logging", "tomllib"}.intersection(modules)
