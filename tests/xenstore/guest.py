# SPDX-License-Identifier: GPL-2.0-or-later
"""An unprivileged guest's side of its XenStore ring page (xen/io/xs_wire.h)."""

from __future__ import annotations

import mmap
import os
import select
import struct
import time
from types import TracebackType

import trio

from xendisplback.xen.store_wire import Operation

from .server import PAGE_SIZE, Xenstored

_RING_SIZE = 1024
_REQUESTS, _REPLIES = 0, 1024
_REQ_CONS, _REQ_PROD, _RSP_CONS, _RSP_PROD = 2048, 2052, 2056, 2060
_HEADER = struct.Struct("=IIII")
_REPLY_SECONDS = 5.0


class Refused(Exception):
    """XS_ERROR; the text is the error's name."""


class Guest:
    """Made after ``server.add_domain`` and the toolstack's introduction."""

    def __init__(self, server: Xenstored, domid: int) -> None:
        self._server = server
        self._domid = domid
        with server.ring_of(domid).open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE_SIZE)
        self._events = os.open(server.event_fifo_of(domid), os.O_RDWR | os.O_NONBLOCK)

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._events)
        self._page.close()

    async def read(self, path: str) -> bytes:
        return await self.ask(Operation.READ, path.encode() + b"\0")

    async def write(self, path: str, value: bytes) -> None:
        await self.ask(Operation.WRITE, path.encode() + b"\0" + value)

    async def ask(self, operation: Operation, payload: bytes) -> bytes:
        """One request at a time, as the Linux frontend's driver does. Raises Refused."""
        return await trio.to_thread.run_sync(self._ask, operation, payload)

    def _ask(self, operation: Operation, payload: bytes) -> bytes:
        self._put(_HEADER.pack(operation, 1, 0, len(payload)) + payload)
        kind, _, _, size = _HEADER.unpack(self._take(_HEADER.size))
        reply = self._take(size)
        if kind == Operation.ERROR:
            raise Refused(reply.rstrip(b"\0").decode())
        assert kind == operation
        return reply

    def _put(self, data: bytes) -> None:
        deadline = time.monotonic() + _REPLY_SECONDS
        while data:
            produced = self._index(_REQ_PROD)
            room = _RING_SIZE - (produced - self._index(_REQ_CONS)) % 2**32
            start = produced % _RING_SIZE
            count = min(len(data), room, _RING_SIZE - start)
            self._page[_REQUESTS + start : _REQUESTS + start + count] = data[:count]
            data = data[count:]
            self._set_index(_REQ_PROD, produced + count)
            self._server.kick_from(self._domid)
            if not count:
                self._wait(deadline)

    def _take(self, size: int) -> bytes:
        deadline = time.monotonic() + _REPLY_SECONDS
        data = b""
        while len(data) < size:
            consumed = self._index(_RSP_CONS)
            there = (self._index(_RSP_PROD) - consumed) % 2**32
            start = consumed % _RING_SIZE
            count = min(size - len(data), there, _RING_SIZE - start)
            data += self._page[_REPLIES + start : _REPLIES + start + count]
            self._set_index(_RSP_CONS, consumed + count)
            if count:
                self._server.kick_from(self._domid)
            else:
                self._wait(deadline)
        return data

    def _wait(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError("xenstored is silent on the ring")
        # A short limit: the index may have moved between our look at it and this wait.
        if select.select([self._events], [], [], 0.02)[0]:
            os.read(self._events, 4096)

    def _index(self, offset: int) -> int:
        return int(struct.unpack_from("=I", self._page, offset)[0])

    def _set_index(self, offset: int, value: int) -> None:
        struct.pack_into("=I", self._page, offset, value % 2**32)
