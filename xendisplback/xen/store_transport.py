# SPDX-License-Identifier: GPL-2.0-or-later
"""How XenStore is reached: xenstored's Unix socket, or the kernel's /dev/xen/xenbus.

Either is a non-blocking file descriptor here. What the kernel's device wants to be treated differently
(read in linux/drivers/xen/xenbus/xenbus_dev_frontend.c) is marked by :attr:`Transport.is_device`.
"""

from __future__ import annotations

import errno
import os
import stat

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
        """The kernel's device: one packet a write; a write never waits for room, and poll never says writable;
        an error of write() is the answer to that packet; watches block in write()."""
        self._fd = fd
        os.set_blocking(fd, False)

    def write(self, data: bytes | memoryview) -> int:
        """As write(2): how much was taken. Raises BlockingIOError, OSError."""
        return os.write(self._fd, data)

    def write_in_thread(self, data: bytes | memoryview) -> int:
        """As :meth:`write`, for a worker thread: the device blocks although the descriptor does not."""
        return os.write(self._fd, data)

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._fd)

    async def read(self) -> bytes:
        """What has arrived; empty at the end of the stream. Raises OSError."""
        while True:
            try:
                return os.read(self._fd, _READ_SIZE)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._fd)

    def close(self) -> None:
        trio.lowlevel.notify_closing(self._fd)
        os.close(self._fd)


async def open_transport(path: str | None) -> Transport:
    """``path`` (a socket or a device), else $XENSTORED_PATH, else a socket that answers, else the device.

    Raises HostError, naming what is missing or not permitted.
    """
    path = path or os.environ.get("XENSTORED_PATH")
    if path is not None:
        return await _open(path)
    for socket_path in SOCKETS:
        try:
            return await _open(socket_path)
        except HostError as error:
            # Left behind by a xenstored that is gone, or there is none in this domain: the kernel may know.
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise
    return await _open(DEVICE)


async def _open(path: str) -> Transport:
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            return Transport(await _connect(path), path, is_device=False)
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        return Transport(fd, path, is_device=True)
    except OSError as error:
        raise _host_error(path, error) from error


async def _connect(path: str) -> int:
    socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    with socket:
        await socket.connect(path)
        return socket.detach()


def _host_error(path: str, error: OSError) -> HostError:
    call = "connect" if path.endswith("socket") else "open"
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
            message, hint = f"cannot open {path}", None
    return HostError(message, call=call, path=path, errno=error.errno, hint=hint)
