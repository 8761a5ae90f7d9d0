# SPDX-License-Identifier: GPL-2.0-or-later
"""One connection to XenStore: many requests in flight, matched by id, and watch events by token.

Rules:

- Requests leave in the order in which they were posted. Posting never waits, so that a cancelled
  caller cannot leave half a packet behind. What the store does not take at once is sent by a task.
- A request is registered before its first byte leaves: the reply can beat the return of write().
- A reply whose caller has gone is dropped by its id; an event whose watch has gone by its token.
- The first thing that breaks the stream ends the link, and everything that waits on it, with
  :class:`StoreClosed`.
- The kernel's device takes one request at a time: it queues the packet where write() put it, in the
  file's one buffer (``u->u.buffer`` in xenbus_write_transaction), and the next write() overwrites what
  its thread has not sent yet. Seen on the rig: with 20 in flight, XS_READ was answered with EINVAL.
- Its write() of a watch or unwatch waits for xenstored's reply, hence is made in a worker thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from xendisplback.errors import HostError
from xendisplback.xen.store_transport import StoreClosed, Transport
from xendisplback.xen.store_wire import (
    Decoder,
    InvalidRequest,
    Operation,
    Packet,
    WireError,
    decode_error,
    decode_strings,
    encode_packet,
)

_WATCH_OPERATIONS = (Operation.WATCH, Operation.UNWATCH)


class StoreError(HostError):
    """The store's answer to one request was an error: ``call`` is the request's name in xs_wire.h
    (``XS_READ``), ``errno`` Linux's number, ``path`` the node."""

    @classmethod
    def of(cls, operation: Operation, path: str | None, errno: int) -> StoreError:
        return cls("XenStore refused", call=f"XS_{operation.name}", path=path, errno=errno)


class EventSink(Protocol):
    """What :meth:`Link.subscribe` delivers to."""

    def notify(self, path: str) -> None: ...

    def wake(self) -> None: ...


@dataclass(slots=True, eq=False)
class Request:
    """One request from its posting to its reply."""

    req_id: int
    operation: Operation
    path: str | None
    unsent: memoryview
    done: trio.Event = field(default_factory=trio.Event)
    payload: bytes | None = None
    errno: int | None = None
    on_late_reply: Callable[[bytes], None] | None = None
    """See :meth:`Link.abandon`."""


class Link:
    """:meth:`run` it in a task. :meth:`close` ends it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._closed_because: str | None = None
        self._last_req_id = 0
        self._last_token = 0
        self._queue: deque[Request] = deque()
        self._in_flight: dict[int, Request] = {}
        self._sinks: dict[str, EventSink] = {}
        self._sender_needed = trio.Event()
        self._all_answered = trio.Event()

    # Callers

    def check_open(self) -> None:
        """Raises StoreClosed if the link has ended."""
        if self._closed_because is not None:
            raise self._closed_error()

    def _closed_error(self) -> StoreClosed:
        return StoreClosed(
            self._closed_because or "no connection to XenStore", path=self._transport.path
        )

    def post(
        self, operation: Operation, parts: Sequence[bytes], path: str | None = None, tx_id: int = 0
    ) -> Request:
        """Sends without waiting for the reply.

        Raises StoreClosed, or StoreError for what cannot be sent.
        """
        self.check_open()
        req_id = self._next_req_id()
        try:
            packet = encode_packet(operation, req_id, tx_id, parts)
        except InvalidRequest as error:
            raise StoreError.of(operation, path, error.errno) from error
        request = Request(req_id, operation, path, memoryview(packet))
        self._queue.append(request)
        if len(self._queue) == 1:
            self._send_now()
        return request

    async def wait(self, request: Request) -> bytes:
        """The reply's payload. Raises StoreError, StoreClosed."""
        await request.done.wait()
        if request.errno is not None:
            raise StoreError.of(request.operation, request.path, request.errno)
        if request.payload is None:
            raise self._closed_error()
        return request.payload

    async def request(
        self, operation: Operation, parts: Sequence[bytes], path: str | None = None, tx_id: int = 0
    ) -> bytes:
        """Sends, and waits for the reply. Cancelled, it leaves open whether the store obeys."""
        return await self.wait(self.post(operation, parts, path, tx_id))

    def abandon(self, request: Request, on_reply: Callable[[bytes], None]) -> None:
        """``on_reply`` undoes what a success grants, now or whenever it is known."""
        if request.payload is not None:
            on_reply(request.payload)
        else:
            request.on_late_reply = on_reply

    @contextmanager
    def subscribe(self, sink: EventSink) -> Generator[str]:
        """A token, never used before; its events go to ``sink`` while in the block."""
        self._last_token += 1
        token = str(self._last_token)
        self._sinks[token] = sink
        try:
            yield token
        finally:
            del self._sinks[token]

    def _next_req_id(self) -> int:
        # 32 bits on the wire; 0 stays unused, since the kernel's own messages carry it.
        while True:
            self._last_req_id = self._last_req_id % 0xFFFF_FFFF + 1
            if self._last_req_id not in self._in_flight:
                return self._last_req_id

    # Sending

    def _send_now(self) -> None:
        """Sends from the queue until something has to be waited for."""
        while self._queue and self._closed_because is None:
            request = self._queue[0]
            if self._transport.is_device and (
                self._in_flight or request.operation in _WATCH_OPERATIONS
            ):
                break
            self._in_flight[request.req_id] = request
            try:
                written = self._transport.write(request.unsent)
            except BlockingIOError:
                break
            except OSError as error:
                self._write_failed(request, error)
                continue
            request.unsent = request.unsent[written:]
            if request.unsent:
                break
            self._queue.popleft()
        if self._queue:
            self._sender_needed.set()

    async def _send_rest(self) -> None:
        while True:
            await self._sender_needed.wait()
            self._sender_needed = trio.Event()
            if not self._queue:
                continue
            if not self._transport.is_device:
                await self._transport.wait_writable()
            else:
                while self._in_flight:
                    self._all_answered = trio.Event()
                    await self._all_answered.wait()
                if self._queue[0].operation in _WATCH_OPERATIONS:
                    await self._send_watch_to_device(self._queue[0])
            self._send_now()

    async def _send_watch_to_device(self, request: Request) -> None:
        self._in_flight[request.req_id] = request
        try:
            # Abandoned at the end only, when the file descriptor is about to be closed.
            await trio.to_thread.run_sync(
                partial(self._transport.write, request.unsent), abandon_on_cancel=True
            )
        except OSError as error:
            self._write_failed(request, error)
        else:
            self._queue.popleft()

    def _write_failed(self, request: Request, error: OSError) -> None:
        """The device has consumed the packet and answers by write()'s error; a socket is dead."""
        if not self._transport.is_device:
            self.close(f"the connection to XenStore broke: {error.strerror}")
            return
        self._queue.popleft()
        self._finish(request, errno=error.errno)

    # Receiving

    async def run(self) -> None:
        """Until the link ends. Raises nothing."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send_rest)
            await self._receive()
            nursery.cancel_scope.cancel()

    async def _receive(self) -> None:
        decoder = Decoder()
        while self._closed_because is None:
            try:
                data = await self._transport.read()
                for packet in decoder.feed(data):
                    self._dispatch(packet)
            except OSError as error:
                self.close(f"the connection to XenStore broke: {error.strerror}")
            except WireError as error:
                self.close(f"XenStore broke its protocol: {error}")
            else:
                if not data:
                    self.close("XenStore ended the connection")

    def _dispatch(self, packet: Packet) -> None:
        if packet.op == Operation.WATCH_EVENT:
            # The kernel's device leaves req_id and tx_id of an event uninitialised.
            match decode_strings(packet.payload):
                case [path, token, *_]:
                    if token in self._sinks:
                        self._sinks[token].notify(path)
                case _:
                    raise WireError("an event without path and token")
            return
        request = self._in_flight.get(packet.rq_id)
        if request is None:
            return
        if packet.op == Operation.ERROR:
            self._finish(request, errno=decode_error(packet.payload))
        elif packet.op == request.operation:
            self._finish(request, packet.payload)
        else:
            raise WireError(f"{request.operation.name} answered by operation {packet.op}")

    def _finish(
        self, request: Request, payload: bytes | None = None, errno: int | None = None
    ) -> None:
        del self._in_flight[request.req_id]
        request.payload, request.errno = payload, errno
        request.done.set()
        if request.on_late_reply is not None and payload is not None:
            request.on_late_reply(payload)
        if not self._in_flight:
            self._all_answered.set()

    def close(self, reason: str) -> None:
        """Ends the link: whoever waits gets StoreClosed. The first reason stays."""
        if self._closed_because is not None:
            return
        self._closed_because = reason
        for request in (*self._in_flight.values(), *self._queue):
            request.done.set()
        for sink in self._sinks.values():
            sink.wake()
