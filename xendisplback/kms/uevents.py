# SPDX-License-Identifier: GPL-2.0-or-later
"""That display devices came, went or changed: uevents of subsystem drm, by netlink.

The kernel says so, and makes a device's node before: udev is not needed. Where it runs, it is asked what comes:
only then has the node the group by which a daemon that is not root may open it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

import trio

from xendisplback.errors import HostError
from xendisplback.host import DisplayChange

NETLINK_KOBJECT_UEVENT: Final = 15
# Both are masks. Only root's messages reach either (linux/netlink.h: NL_CFG_F_NONROOT_SEND is not set).
KERNEL_GROUP: Final = 1
UDEV_GROUP: Final = 2
# libudev asks the same.
UDEV_RUNS: Final = "/run/udev/control"
# src/libsystemd/sd-device/device-monitor.c: 8 bytes, the magic number, this header's size, where and how long the
# properties are; the rest is for filters.
UDEV_PREFIX: Final = b"libudev\0"
UDEV_MAGIC: Final = b"\xfe\xed\xca\xfe"
UDEV_HEADER: Final = struct.Struct("=8s4s3I")
MAX_SIZE: Final = 8192
"""linux/kobject.h: UEVENT_BUFFER_SIZE is 2048."""


def parse_uevent(message: bytes, *, udev: bool) -> DisplayChange | None:
    """What the kernel's ``message`` says about a card; None: nothing, or ``udev`` runs and says it later.

    It is ``ACTION@DEVPATH`` and then ``KEY=VALUE``s, each ended by a zero (lib/kobject_uevent.c).
    """
    header, _, properties = message.partition(b"\0")
    if b"@" not in header:
        return None
    return _change(properties, {b"change", b"remove"} if udev else {b"add", b"change", b"remove"})


def parse_udev(message: bytes) -> DisplayChange | None:
    """What udev's ``message`` adds to the kernel's: a new card's node is as it will be."""
    if len(message) < UDEV_HEADER.size:
        return None
    prefix, magic, _, start, length = UDEV_HEADER.unpack_from(message)
    if (prefix, magic) != (UDEV_PREFIX, UDEV_MAGIC):
        return None
    return _change(message[start : start + length], {b"add"})


def _change(properties: bytes, actions: Collection[bytes]) -> DisplayChange | None:
    values = dict(pair.split(b"=", 1) for pair in properties.split(b"\0") if b"=" in pair)
    action = values.get(b"ACTION")
    # The kernel's has no /dev/ before it, udev's has.
    name = values.get(b"DEVNAME", b"").removeprefix(b"/dev/")
    number = name.removeprefix(b"dri/card")
    if (
        action not in actions
        or values.get(b"SUBSYSTEM") != b"drm"
        or number == name
        or not number.isdigit()
    ):
        return None
    return DisplayChange(f"/dev/{name.decode('ascii')}", gone=action == b"remove")


@asynccontextmanager
async def display_changes() -> AsyncGenerator[AsyncIterator[DisplayChange], None]:
    """Raises HostError."""
    try:
        uevents = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
    except OSError as error:
        raise HostError(
            "hot-plug can't be noticed",
            call="socket(AF_NETLINK)",
            errno=error.errno,
            hint="in a systemd unit: RestrictAddressFamilies with AF_NETLINK",
        ) from error
    with uevents:
        uevents.setblocking(False)
        uevents.bind((0, KERNEL_GROUP | UDEV_GROUP))
        yield _changes(uevents, udev=os.path.exists(UDEV_RUNS))


async def _changes(uevents: socket.socket, *, udev: bool) -> AsyncGenerator[DisplayChange, None]:
    while True:
        await trio.lowlevel.wait_readable(uevents)
        try:
            message, (sender, group) = uevents.recvfrom(MAX_SIZE)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                # Some were lost: look everywhere.
                yield DisplayChange(None, gone=False)
                continue
            if error.errno in (errno.EAGAIN, errno.EINTR):
                continue
            raise HostError("hot-plug", call="recvfrom", errno=error.errno) from error
        if group == UDEV_GROUP:
            change = parse_udev(message)
        else:
            change = parse_uevent(message, udev=udev) if sender == 0 else None
        if change is not None:
            yield change
