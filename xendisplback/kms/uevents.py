# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's word that display devices came, went or changed: uevents of subsystem drm, by netlink.

udev is not needed: devtmpfs makes a device's node before its uevent is sent.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from xendisplback.errors import HostError
from xendisplback.host import DisplayChange

NETLINK_KOBJECT_UEVENT: Final = 15
KERNEL_GROUP: Final = 1
"""Group 2 has udev's own messages."""
MAX_SIZE: Final = 8192
"""linux/kobject.h: UEVENT_BUFFER_SIZE is 2048."""


def parse_uevent(message: bytes) -> DisplayChange | None:
    """What ``message`` says about a card; None: nothing.

    It is ``ACTION@DEVPATH`` and then ``KEY=VALUE``s, each ended by a zero (lib/kobject_uevent.c).
    """
    header, *pairs = message.split(b"\0")
    if b"@" not in header:
        return None
    values = dict(pair.split(b"=", 1) for pair in pairs if b"=" in pair)
    name = values.get(b"DEVNAME", b"")
    number = name.removeprefix(b"dri/card")
    if values.get(b"SUBSYSTEM") != b"drm" or number == name or not number.isdigit():
        return None
    return DisplayChange(f"/dev/{name.decode('ascii')}", gone=values.get(b"ACTION") == b"remove")


@asynccontextmanager
async def display_changes() -> AsyncGenerator[AsyncIterator[DisplayChange], None]:
    """Raises HostError."""
    try:
        kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
    except OSError as error:
        raise HostError(
            "hot-plug can't be noticed",
            call="socket(AF_NETLINK)",
            errno=error.errno,
            hint="in a systemd unit: RestrictAddressFamilies with AF_NETLINK",
        ) from error
    with kernel:
        kernel.setblocking(False)
        kernel.bind((0, KERNEL_GROUP))
        yield _changes(kernel)


async def _changes(kernel: socket.socket) -> AsyncGenerator[DisplayChange, None]:
    while True:
        await trio.lowlevel.wait_readable(kernel)
        try:
            message, (sender, _) = kernel.recvfrom(MAX_SIZE)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                # Some were lost: look everywhere.
                yield DisplayChange(None, gone=False)
                continue
            if error.errno in (errno.EAGAIN, errno.EINTR):
                continue
            raise HostError("hot-plug", call="recvfrom", errno=error.errno) from error
        change = parse_uevent(message) if sender == 0 else None
        if change is not None:
            yield change
