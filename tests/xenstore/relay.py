# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands between our client and xenstored, and notes what passes.

Behind a socket it only looks. Behind a terminal in raw mode (a character device, like the kernel's
/dev/xen/xenbus) it behaves as xenbus_dev_frontend.c does where that differs from xenstored.
"""

from __future__ import annotations

import os
import struct
import tty
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from xendisplback.xen.store_wire import Decoder, Operation, Packet

_HEADER = struct.Struct("=IIII")


@dataclass(slots=True)
class Relay:
    path: str
    """Where our client connects."""
    as_device: bool = False
    requests: list[Packet] = field(default_factory=list[Packet])
    replies: list[Packet] = field(default_factory=list[Packet])
    overlaps: list[Packet] = field(default_factory=list[Packet])
    """Requests that came while another was in flight: the kernel's device would have mixed them up."""
    _unanswered: set[int] = field(default_factory=set[int])

    @property
    def open_transactions(self) -> set[int]:
        started = {
            int(reply.payload[:-1])
            for reply in self.replies
            if reply.op == Operation.TRANSACTION_START
        }
        ended = {
            request.tx_id for request in self.requests if request.op == Operation.TRANSACTION_END
        }
        return started - ended

    def count(self, operation: Operation) -> int:
        return sum(request.op == operation for request in self.requests)

    async def wait_for_packets(self, count: int) -> None:
        """Until ``count`` requests and replies have passed."""
        while len(self.requests) + len(self.replies) < count:
            await trio.lowlevel.checkpoint()

    async def run(self, client: trio.abc.Stream, store: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pass_replies, store, client)
            await self._pass_requests(client, store)
            nursery.cancel_scope.cancel()

    async def _pass_requests(self, client: trio.abc.Stream, store: trio.abc.Stream) -> None:
        decoder = Decoder()
        while data := await _receive(client):
            for packet in decoder.feed(data):
                self.requests.append(packet)
                if self._unanswered:
                    self.overlaps.append(packet)
                self._unanswered.add(packet.rq_id)
                await store.send_all(_encode(packet))

    async def _pass_replies(self, store: trio.abc.Stream, client: trio.abc.Stream) -> None:
        decoder = Decoder()
        while data := await _receive(store):
            for packet in decoder.feed(data):
                self.replies.append(packet)
                if packet.op != Operation.WATCH_EVENT:
                    self._unanswered.discard(packet.rq_id)
                elif self.as_device:
                    # watch_fired() fills in type and len only, the rest is what was on the stack.
                    packet = packet._replace(rq_id=self.requests[-1].rq_id + 1, tx_id=0xDEAD)
                await client.send_all(_encode(packet))


@asynccontextmanager
async def relay_by_socket(directory: Path, store_path: str) -> AsyncGenerator[Relay]:
    path = str(directory / "relay")
    listener = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listener.bind(path)
    listener.listen()
    relay = Relay(path)

    async def serve() -> None:
        accepted, _ = await listener.accept()
        async with (
            trio.SocketStream(accepted) as client,
            await trio.open_unix_socket(store_path) as store,
        ):
            await relay.run(client, store)

    with listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield relay
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def relay_by_device(store_path: str) -> AsyncGenerator[Relay]:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    relay = Relay(os.ttyname(theirs), as_device=True)
    try:
        async with (
            trio.lowlevel.FdStream(ours) as client,
            await trio.open_unix_socket(store_path) as store,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(relay.run, client, store)
            yield relay
            nursery.cancel_scope.cancel()
    finally:
        os.close(theirs)


async def _receive(stream: trio.abc.Stream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


def _encode(packet: Packet) -> bytes:
    return _HEADER.pack(packet.op, packet.rq_id, packet.tx_id, packet.size) + packet.payload
