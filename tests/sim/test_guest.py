# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated guest does what Linux's xen_drm_front does, seen from a backend that the test is itself."""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.sim.hand_backend import HandBackend
from xendisplback.protocol.displif import (
    DbufCreate,
    PgFlip,
    SetConfig,
    encode_pg_flip_event,
    parse_request,
)
from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import Guest
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.host import SimHost

S = XenbusState


@asynccontextmanager
async def new_domain() -> AsyncGenerator[tuple[SimHost, Domain], None]:
    with trio.fail_after(20):
        async with SimHost() as host:
            connectors = [("HDMI-A-1", "800x600")]
            yield host, await host.toolstack.create(connectors, wait=False)


@asynccontextmanager
async def connected() -> AsyncGenerator[tuple[Guest, HandBackend], None]:
    async with new_domain() as (host, domain):
        backend = HandBackend(host, domain)
        backend.publish(S.InitWait)
        await domain.guest.wait_state(S.Initialised)
        backend.connect()
        await domain.guest.connected()
        yield domain.guest, backend
        backend.release()


async def test_states_of_a_start() -> None:
    async with new_domain() as (host, domain):
        guest, backend = domain.guest, HandBackend(host, domain)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert guest.state is S.Initialising
        backend.publish(S.InitWait)
        await guest.wait_state(S.Initialised)
        nodes = host.toolstack.store
        assert nodes.get(f"{guest.path}/0/req-ring-ref") == str(guest.displays[0].requests.ref)
        assert str(nodes.permissions(f"{guest.path}/0/evt-event-channel")[0]) == f"n{domain.domid}"
        # A backend that publishes InitWait again is ignored at Initialised.
        backend.publish(S.InitWait)
        await trio.testing.wait_all_tasks_blocked(0.05)
        states = [guest.state]
        assert states == [S.Initialised]
        backend.connect()
        await guest.connected()
        backend.release()


@pytest.mark.parametrize("state", [S.Closed, S.Unknown])
async def test_a_backend_that_closes_unplugs_the_guest(state: XenbusState) -> None:
    async with connected() as (guest, backend):
        buffer = guest.allocate(8192)
        backend.publish(S.Closing)
        await trio.testing.wait_all_tasks_blocked(0.05)
        await guest.connected()
        backend.release()
        backend.publish(state)
        await guest.wait_state(S.Initialising)
        assert guest.displays == []
        assert guest.memory.deferred == []
        with pytest.raises(ValueError, match="released"):
            buffer.pixels[0] = 1


@pytest.mark.parametrize("state", [S.InitWait, S.Initialising])
async def test_a_backend_that_starts_anew_makes_the_guest_connect_again(
    state: XenbusState,
) -> None:
    async with connected() as (guest, backend):
        first = guest.displays[0].requests.ref
        backend.release()
        backend.publish(state)
        await trio.testing.wait_all_tasks_blocked(0.05)
        backend.publish(S.InitWait)
        await guest.wait_state(S.Initialised)
        assert guest.displays[0].requests.ref != first


async def test_rings_still_mapped_at_an_unplug_show_up_as_deferred() -> None:
    async with connected() as (guest, backend):
        refs = [guest.displays[0].requests.ref, guest.displays[0].events.ref]
        backend.publish(S.Closed)
        await guest.wait_state(S.Initialising)
        assert guest.memory.deferred == refs


async def test_one_request_is_in_flight() -> None:
    async with connected() as (guest, backend), trio.open_nursery() as nursery:
        for cookie in (1, 2):
            nursery.start_soon(guest.page_flip, 0, cookie)
        seen: list[int] = []
        for _ in range(2):
            slot = await backend.next_slot()
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert backend.requests.take() == []
            request = parse_request(slot, 1)
            assert isinstance(request, PgFlip)
            seen.append(request.fb_cookie)
            backend.answer(slot)
        assert sorted(seen) == [1, 2]


async def test_no_answer_is_a_timeout_and_a_late_one_is_dropped() -> None:
    async with connected() as (guest, backend), trio.open_nursery() as nursery:
        buffer = guest.allocate(4096)
        started = trio.current_time()
        with pytest.raises(GuestError) as caught:
            await guest.dbuf_create(buffer, 32, 32, 32)
        assert caught.value.errno == errno.ETIMEDOUT
        assert 2.9 < trio.current_time() - started < 4.0
        backend.answer(await backend.next_slot())
        nursery.start_soon(guest.mode_set, 0, 0, 0, 800, 600, 32, 5)
        slot = await backend.next_slot()
        assert isinstance(parse_request(slot, 1), SetConfig)
        backend.answer(slot, id_off_by=1)
        backend.answer(slot)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert guest.displays[0].channel.stale_responses == 2


async def test_a_refusal_disconnects_the_display_until_it_is_disabled() -> None:
    async with connected() as (guest, backend), trio.open_nursery() as nursery:
        display = guest.displays[0]

        async def refused() -> None:
            with pytest.raises(GuestError) as caught:
                await display.send_flip(9)
            assert caught.value.errno == errno.ENOENT

        nursery.start_soon(refused)
        backend.answer(await backend.next_slot(), -errno.ENOENT)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert not display.connected
        nursery.start_soon(display.disable)
        slot = await backend.next_slot()
        request = parse_request(slot, 1)
        assert isinstance(request, SetConfig)
        assert request.disables
        backend.answer(slot)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert display.connected


async def test_events_count_only_with_the_next_id() -> None:
    async with connected() as (guest, backend):
        display, done = guest.displays[0], 0

        def count() -> None:
            nonlocal done
            done += 1

        display.on_frame_done = count
        backend.send_event()
        backend.send_event()
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (done, display.skipped_events) == (2, 0)
        # The third carries the id of a fourth, as from a backend that counted one it dropped.
        display.events.shared.write_slot(64 + 2 * 64, encode_pg_flip_event(3, 1))
        display.events.in_prod = 3
        display.on_event()
        assert (done, display.skipped_events) == (2, 1)


async def test_an_unplug_ends_what_waits() -> None:
    async with connected() as (guest, backend), trio.open_nursery() as nursery:

        async def waits() -> None:
            with pytest.raises(GuestError) as caught:
                await guest.page_flip(0, 1)
            assert caught.value.errno == errno.EIO

        nursery.start_soon(waits)
        await backend.next_slot()
        backend.release()
        backend.publish(S.Closed)


async def test_a_created_buffer_is_described_as_linux_describes_it() -> None:
    async with connected() as (guest, backend), trio.open_nursery() as nursery:
        nursery.start_soon(guest.create_framebuffer, 801, 600, "RG16")
        slot = await backend.next_slot()
        create = parse_request(slot, 1)
        assert isinstance(create, DbufCreate)
        assert (create.width, create.height, create.bpp) == (801, 600, 16)
        assert create.buffer_sz == 1602 * 600
        backend.answer(slot)
        slot = await backend.next_slot()
        backend.answer(slot)
        nursery.start_soon(lambda: guest.create_framebuffer(801, 600, pitch_align=8, imported=True))
        slot = await backend.next_slot()
        create = parse_request(slot, 1)
        assert isinstance(create, DbufCreate)
        assert (create.width, create.height, create.bpp) == (0, 0, 0)
        assert create.buffer_sz == -(-3208 * 600 // 4096) * 4096
        backend.answer(slot)
        backend.answer(await backend.next_slot())


async def test_unload_and_load() -> None:
    async with connected() as (guest, backend), trio.open_nursery() as nursery:

        async def follow() -> None:
            await guest.wait_state(S.Closing)
            backend.release()
            backend.publish(S.InitWait)

        nursery.start_soon(follow)
        assert await guest.unload()
        assert (guest.state, guest.memory.deferred) == (S.Closed, [])
        await guest.load()
        await guest.wait_state(S.Initialised)


async def test_unload_gives_up_after_a_second() -> None:
    async with connected() as (guest, _):
        started = trio.current_time()
        assert not await guest.unload()
        assert 0.9 < trio.current_time() - started < 1.5


async def test_shutdown_waits_to_see_the_backend_close() -> None:
    async with connected() as (guest, backend), trio.open_nursery() as nursery:

        async def close() -> None:
            await guest.wait_state(S.Closing)
            backend.publish(S.Closing)

        nursery.start_soon(close)
        assert await guest.shutdown()
        assert guest.state is S.Closed


async def test_a_frozen_guest_does_nothing() -> None:
    async with connected() as (guest, backend):
        guest.freeze()
        backend.send_event()
        backend.publish(S.Closed)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert guest.state is S.Connected
        assert guest.displays[0].events.in_cons == 0
        backend.release()
        guest.thaw()
        await guest.wait_state(S.Initialising)


async def test_a_forged_state_is_written_as_it_is() -> None:
    async with connected() as (guest, backend):
        guest.write_state("garbage")
        assert guest.store.get(f"{guest.path}/state") == "garbage"
        backend.publish(S.Closing)
        await guest.wait_backend(S.Closing)
