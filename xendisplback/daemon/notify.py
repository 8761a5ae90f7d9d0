# SPDX-License-Identifier: GPL-2.0-or-later
"""sd_notify(3) without libsystemd: a datagram to ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import contextlib
import os
import socket
from array import array
from collections.abc import Sequence

import trio


def notify(state: str, fds: Sequence[int] = ()) -> None:
    """Send ``state`` (``READY=1``), and ``fds`` with it; nothing happens outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    # No descriptor is left, systemd is restarting or its queue is full: a lost ping must not end the daemon.
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
    ):
        sock.setblocking(False)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", fds))
        sock.sendmsg([state.encode()], [rights] if fds else [], 0, address)


async def feed_watchdog() -> None:
    """Task: ping systemd's watchdog at half its period from the event loop that serves the guests."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    if not microseconds or os.environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return
    while True:
        notify("WATCHDOG=1")
        await trio.sleep(int(microseconds) / 2_000_000)
