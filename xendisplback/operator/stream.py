# SPDX-License-Identifier: GPL-2.0-or-later
"""Lines and files from a client of the control socket, both bounded."""

from __future__ import annotations

import os
import socket
from array import array
from types import TracebackType

import trio

from xendisplback.operator import MAX_LINE


class Garbage(Exception):
    """What a client sent is no request; the message is for it."""


class ControlStream:
    """One connection. A context manager: closes it, and every file that was not taken."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._read = bytearray()
        self._fds: list[int] = []

    def __enter__(self) -> ControlStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.drop_files()
        self._stream.socket.close()

    async def read_line(self) -> bytes | None:
        """The next line with its newline; None: the client has gone. Raises Garbage."""
        while (end := self._read.find(b"\n") + 1) == 0:
            if len(self._read) >= MAX_LINE:
                raise Garbage(f"no line in the first {MAX_LINE} bytes")
            try:
                part = await self._receive()
            except OSError:
                return None
            if not part:
                return None
            self._read += part
        line = bytes(self._read[:end])
        del self._read[:end]
        return line

    async def _receive(self) -> bytes:
        """Raises OSError, Garbage."""
        item = array("i").itemsize
        part, ancillary, _, _ = await self._stream.socket.recvmsg(
            MAX_LINE - len(self._read), socket.CMSG_SPACE(item), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, rights in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._fds += array("i", rights[: len(rights) - len(rights) % item])
        if len(self._fds) > 1:
            raise Garbage("more than one file for a request")
        return part

    def take_file(self) -> int | None:
        """The file that came with the last line; the caller's from then on."""
        return self._fds.pop() if self._fds else None

    def drop_files(self) -> None:
        """Close what was not taken."""
        while (fd := self.take_file()) is not None:
            os.close(fd)

    async def send(self, line: bytes) -> None:
        """Raises trio.BrokenResourceError when the client has gone."""
        await self._stream.send_all(line)

    def peer(self) -> str:
        """Which process asks (SO_PEERCRED, unix(7))."""
        item = array("i").itemsize
        credentials = self._stream.socket.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, 3 * item
        )
        pid, uid, _ = array("i", credentials)
        return f"process {pid} of user {uid}"
