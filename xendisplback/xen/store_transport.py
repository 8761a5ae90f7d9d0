# SPDX-License-Identifier: GPL-2.0-or-later
"""How XenStore is reached: xenstored's Unix socket, or the kernel's /dev/xen/xenbus.

Either is a non-blocking file descriptor here. How the kernel's device differs (read in
linux/drivers/xen/xenbus/xenbus_dev_frontend.c) is told at :attr:`Transport.is_device`.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import trio

from xendisplback.errors import HostError

DEVICE = "/dev/xen/xenbus"
SOCKETS = ("/run/xenstored/socket", "/var/run/xenstored/socket")

_READ_SIZE = 65536


class StoreClosed(HostError):
    """The connection to xenstored is gone, or was ended by us; nothing can be asked any more."""


class Transport:
    """Owns the file descriptor."""

    def __init__(self, fd: int, path: str, *, is_device: bool) -> None:
        self.path = path
        self.is_device = is_device
        """The kernel's device: a write() takes at most one packet, never lacks room (poll never
        reports POLLOUT), and its error is the answer to that packet; watches block in write(), and
        nothing may be written before the last request was answered."""
        self._fd = fd
        os.set_blocking(fd, False)

    def write(self, data: bytes | memoryview) -> int:
        """As write(2): how much was taken. Raises BlockingIOError, OSError."""
        return os.write(self._fd, data)

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._fd)

    async def read(self) -> bytes:
        """What has arrived; empty at the end of the stream. Raises OSError."""
        while True:
            # Before the first attempt too: a guest that floods a watch must not starve other tasks.
            await trio.lowlevel.wait_readable(self._fd)
            try:
                return os.read(self._fd, _READ_SIZE)
            except BlockingIOError:
                continue

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._fd)
        os.close(self._fd)


async def open_transport(path: str | None) -> Transport:
    """``path`` (a socket or a device), else $XENSTORED_PATH, else a socket that answers, else the
    device.

    Raises HostError, naming what is missing or not permitted.
    """
    path = path or os.environ.get("XENSTORED_PATH")
    if path is not None:
        return await _open(path)
    for socket_path in SOCKETS:
        try:
            return await _open(socket_path)
        except HostError as error:
            # No xenstored in this domain, or what one left behind: the kernel may reach it.
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise
    return await _open(DEVICE)


async def _open(path: str) -> Transport:
    call = "stat"
    try:
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            call = "connect"
            return Transport(await _connect(path), path, is_device=False)
        call = "open"
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return Transport(fd, path, is_device=True)
    except OSError as error:
        raise _host_error(call, path, error) from error


async def _connect(path: str) -> int:
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    with socket:
        await socket.connect(path)
        return socket.detach()


def _host_error(call: str, path: str, error: OSError) -> HostError:
    hint: str | None
    match error.errno:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            message = f"no Xen here: {path} missing"
            hint = "`xendisplback demo` needs no Xen"
        case errno.EACCES | errno.EPERM:
            message = f"no permission on {path}"
            hint = "run as root, or give the daemon's user or group access to it"
        case errno.ECONNREFUSED:
            message = f"nobody answers on {path}"
            hint = "is xenstored running?"
        case _:
            message = f"cannot open {path}"
            hint = None
    return HostError(message, call=call, path=path, errno=error.errno, hint=hint)
