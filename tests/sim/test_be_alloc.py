# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest with be-alloc=1 does what Linux's xen_drm_front does, seen from a backend that the test is itself."""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from tests.sim.hand_backend import HandBackend
from xendisplback.protocol.displif import (
    REQ_ALLOC,
    DbufCreate,
    DbufDestroy,
    encode_request,
    parse_request,
)
from xendisplback.protocol.xenbus import XenbusState as S
from xendisplback.sim.backend_memory import SimSharedPages
from xendisplback.sim.guest import Guest
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.host import SimHost

WIDTH, HEIGHT = 1024, 1030
PAGES = WIDTH * HEIGHT * 4 // 4096
"""More than one directory page lists."""


@dataclass
class Pair:
    host: SimHost
    guest: Guest
    backend: HandBackend

    async def answer_create(self, *, forge: int | None = None) -> SimSharedPages:
        """Fill the directory; ``forge``: the reference that the guest finds first."""
        slot = await self.backend.next_slot()
        create = parse_request(slot, 1)
        assert isinstance(create, DbufCreate)
        assert create.flags == REQ_ALLOC
        assert (create.width, create.height, create.buffer_sz) == (WIDTH, HEIGHT, PAGES * 4096)
        shared = self.host.grant_table().share(self.guest.memory.domid, PAGES)
        refs = list(shared.refs)
        if forge is not None:
            refs[0] = forge
        table, ref = self.host.grant_table(), create.gref_directory
        while ref:
            page = table.map(self.guest.memory.domid, [ref], writable=True)
            content = ctypes.string_at(page.address, 4096)
            assert not any(content[4:]), "the guest lists no reference"
            (ref,) = struct.unpack_from("<I", content)
            here, refs = refs[:1023], refs[1023:]
            ctypes.memmove(page.address + 4, struct.pack(f"<{len(here)}I", *here), 4 * len(here))
            page.close()
        assert refs == []
        self.backend.answer(slot)
        return shared

    async def answer_destroy(self) -> None:
        slot = await self.backend.next_slot()
        assert isinstance(parse_request(slot, 1), DbufDestroy)
        self.backend.answer(slot)


@asynccontextmanager
async def connected() -> AsyncGenerator[tuple[Pair, trio.Nursery], None]:
    with trio.fail_after(20):
        async with SimHost() as host, trio.open_nursery() as nursery:
            domain = await host.toolstack.create(
                [("HDMI-A-1", "800x600")], be_alloc=True, wait=False
            )
            backend = HandBackend(host, domain)
            backend.publish(S.InitWait)
            await domain.guest.wait_state(S.Initialised)
            backend.connect()
            await domain.guest.connected()
            yield Pair(host, domain.guest, backend), nursery
            backend.release()


def test_the_request_carries_the_flag() -> None:
    request = DbufCreate(0, 1, 2, 3, 4, 5, REQ_ALLOC, 6)
    assert parse_request(encode_request(request), 1) == request


async def test_it_draws_in_the_backends_pages_and_unmaps_before_it_says_destroy() -> None:
    async with connected() as (pair, nursery):
        guest, memory = pair.guest, pair.host.memory.backend
        buffer = guest.allocate(PAGES * 4096)
        nursery.start_soon(guest.dbuf_create, buffer, WIDTH, HEIGHT, 32)
        shared = await pair.answer_create()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert buffer.refs == shared.refs
        buffer.pixels[-4:] = b"last"
        assert ctypes.string_at(shared.address + shared.length - 4, 4) == b"last"
        nursery.start_soon(guest.dbuf_destroy, buffer)
        await pair.answer_destroy()
        shared.close()
        assert (memory.granted(), memory.kept()) == (0, 0)
        assert guest.memory.deferred == []


async def test_a_hostile_guest_keeps_the_pages_until_it_dies() -> None:
    async with connected() as (pair, nursery):
        guest, memory = pair.guest, pair.host.memory.backend
        guest.keep_mapped = True
        buffer = guest.allocate(PAGES * 4096)
        nursery.start_soon(guest.dbuf_create, buffer, WIDTH, HEIGHT, 32)
        shared = await pair.answer_create()
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.start_soon(guest.dbuf_destroy, buffer)
        await pair.answer_destroy()
        shared.close()
        assert (memory.granted(), memory.kept(guest.memory.domid)) == (0, PAGES)
        buffer.pixels[:4] = b"mine"
        await trio.testing.wait_all_tasks_blocked(0.02)
        guest.stop()
        assert memory.kept() == PAGES, "it is not dead yet"
        pair.host.domains[guest.memory.domid].die()
        assert memory.kept() == 0


async def test_a_buffer_that_it_can_not_map_is_destroyed() -> None:
    async with connected() as (pair, nursery):

        async def create() -> None:
            with pytest.raises(GuestError) as caught:
                await pair.guest.dbuf_create(pair.guest.allocate(PAGES * 4096), WIDTH, HEIGHT, 32)
            assert caught.value.errno == errno.ENXIO

        nursery.start_soon(create)
        (await pair.answer_create(forge=7)).close()
        await pair.answer_destroy()
        assert pair.guest.memory.deferred == []


async def test_its_device_stays_until_the_last_user_closes_it() -> None:
    async with connected() as (pair, _):
        guest = pair.guest
        guest.open_device()
        guest.open_device()
        pair.backend.release()
        pair.backend.publish(S.Closed)
        await guest.unplugged()
        await trio.testing.wait_all_tasks_blocked(0.02)
        states = [guest.state]
        pair.backend.publish(S.InitWait)
        guest.close_device()
        await trio.testing.wait_all_tasks_blocked(0.02)
        states.append(guest.state)
        guest.close_device()
        states.append(guest.state)
        assert states == [S.Reconfiguring, S.Reconfiguring, S.Initialising]
        # It looks at the backend's state only when that changes.
        pair.backend.publish(S.InitWait)
        await guest.wait_state(S.Initialised)


async def test_without_a_user_it_is_back_at_once() -> None:
    async with connected() as (pair, _):
        pair.backend.release()
        pair.backend.publish(S.Closed)
        await pair.guest.wait_state(S.Initialising)
