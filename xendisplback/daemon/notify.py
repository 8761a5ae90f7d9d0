# SPDX-License-Identifier: GPL-2.0-or-later
"""sd_notify(3) without libsystemd: a datagram to ``$NOTIFY_SOCKET``."""

from __future__ import annotations

import contextlib
import os
import socket

import trio


def notify(state: str) -> None:
    """Send ``state`` (``READY=1``); nothing happens outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        # systemd is restarting or its queue is full: a lost ping must not end the daemon.
        with contextlib.suppress(OSError):
            sock.sendto(state.encode(), address)


async def feed_watchdog() -> None:
    """Task: ping systemd's watchdog at half its period from the event loop that serves the guests."""
    microseconds = os.environ.get("WATCHDOG_USEC")
    if not microseconds or os.environ.get("WATCHDOG_PID") not in (None, str(os.getpid())):
        return
    while True:
        notify("WATCHDOG=1")
        await trio.sleep(int(microseconds) / 2_000_000)
