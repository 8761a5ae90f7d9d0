# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon says to systemd's file descriptor store, and takes from it."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from pathlib import Path

import pytest

from xendisplback.daemon.fdstore import FIRST_FD, SystemdFdStore


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield sock


def test_outside_systemd_nothing_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not SystemdFdStore().available


def test_a_file_is_sent_with_its_name(systemd: socket.socket) -> None:
    store = SystemdFdStore()
    assert store.available
    with open(os.devnull, "rb") as null:
        store.keep("be-alloc-3", null.fileno())
        message, fds, _, _ = socket.recv_fds(systemd, 1000, 5)
        assert message == b"FDSTORE=1\nFDNAME=be-alloc-3"
        assert [os.fstat(fd).st_rdev for fd in fds] == [os.fstat(null.fileno()).st_rdev]
    for fd in fds:
        os.close(fd)


def test_a_name_is_dropped(systemd: socket.socket) -> None:
    SystemdFdStore().drop("be-alloc-3")
    assert systemd.recv(1000) == b"FDSTOREREMOVE=1\nFDNAME=be-alloc-3"


def test_what_was_held_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def set_inheritable(fd: int, inheritable: bool) -> None:
        assert not inheritable
        made.append(fd)

    # The numbers are systemd's to choose; here others' files are open there.
    monkeypatch.setattr(os, "set_inheritable", set_inheritable)
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "3")
    monkeypatch.setenv("LISTEN_FDNAMES", "be-alloc-3:be-alloc-4:be-alloc-3")
    store = SystemdFdStore()
    assert store.take() == {"be-alloc-3": [FIRST_FD, FIRST_FD + 2], "be-alloc-4": [FIRST_FD + 1]}
    assert made == [FIRST_FD, FIRST_FD + 1, FIRST_FD + 2]
    assert store.take() == {}


def test_what_was_meant_for_another_process_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "be-alloc-3")
    assert SystemdFdStore().take() == {}
