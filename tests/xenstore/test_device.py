# SPDX-License-Identifier: GPL-2.0-or-later
"""What the kernel's /dev/xen/xenbus does differently, on a character device in its stead."""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio

from xendisplback.xen.store import StoreError, Transaction, XenStore
from xendisplback.xen.store_link import Link
from xendisplback.xen.store_transport import Transport
from xendisplback.xen.store_wire import Operation

from .relay import relay_by_device
from .server import Xenstored

SECONDS = 10


async def test_everything_works_through_a_character_device(xenstored: Xenstored) -> None:
    async def body(tx: Transaction) -> None:
        await tx.write("/a/b", "1")

    with trio.fail_after(SECONDS):
        async with (
            relay_by_device(xenstored.socket_path) as relay,
            XenStore.connect(relay.path) as store,
        ):
            async with store.watch("/a") as watch:
                assert await anext(watch) == "/a"
                await store.transact(body)
                # The event's ids are garbage, here those of another request.
                assert await anext(watch) == "/a/b"
            assert await store.get("/a/b") == "1"
            await store.write("/c", "x" * 4000)
            assert len(await store.read("/c")) == 4000


async def test_no_request_is_sent_before_the_last_one_was_answered(xenstored: Xenstored) -> None:
    with trio.fail_after(SECONDS):
        async with (
            relay_by_device(xenstored.socket_path) as relay,
            XenStore.connect(relay.path) as store,
        ):

            async def use(number: int) -> None:
                for _ in range(5):
                    await store.write(f"/n/{number}", "x" * 500)
                    async with store.watch(f"/n/{number}") as watch:
                        await anext(watch)

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(use, number)
            await store.get("/n")
            assert relay.count(Operation.WATCH) == relay.count(Operation.UNWATCH) == 100
            assert relay.overlaps == []


class _RefusingDevice(Transport):
    """As xenbus_file_write() does with a watch that the store refuses: no reply, write() fails."""

    def write(self, data: bytes | memoryview) -> int:
        if data[0] == Operation.WATCH:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return super().write(data)


async def test_an_error_of_write_is_the_answer_to_the_request(xenstored: Xenstored) -> None:
    with trio.fail_after(SECONDS):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(xenstored.socket_path)
            transport = _RefusingDevice(connection.detach(), "/dev/xen/xenbus", is_device=True)
        link = Link(transport)
        store = XenStore(link, 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            with pytest.raises(StoreError) as refused:
                async with store.watch("/a"):
                    pass
            assert refused.value.errno == errno.EINVAL
            await store.write("/a", "1")
            assert await store.get("/a") == "1"
            nursery.cancel_scope.cancel()
        transport.close()
