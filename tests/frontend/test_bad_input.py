# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad configurations and hostile guests: what each is answered, and that nobody else notices."""

from __future__ import annotations

import errno
import struct

import pytest
import trio

from tests.frontend.conftest import Machines
from xendisplback.protocol.displif import (
    DbufCreate,
    DbufDestroy,
    FbAttach,
    FbDetach,
    GetEdid,
    PgFlip,
    Request,
    encode_request,
)
from xendisplback.protocol.formats import fourcc
from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest import Guest
from xendisplback.sim.guest_buffer import GuestBuffer
from xendisplback.sim.guest_channel import GuestError

XR24 = fourcc("XR24")


async def refused(guest: Guest, request: Request) -> int:
    """The errno that ``request`` is answered with; 0 for success."""
    return -(await guest.request(0, request)).status


async def test_an_output_that_is_not_there_is_named_and_its_guest_runs_on(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        guest = await m.guest(("HDMI-A-9", "800x600"))
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(framebuffer)
        assert "HDMI-A-9 is not there (outputs here: HDMI-A-1, HDMI-A-2)" in caplog.text
        await guest.displays[0].flip(framebuffer)


async def test_the_second_guest_on_an_output_gets_ebusy_until_the_first_leaves(
    machine: Machines,
) -> None:
    async with machine() as m:
        first, second = await m.domain(name="first"), await m.domain(name="second")
        frames = [
            await domain.guest.create_framebuffer(800, 600, "XR24") for domain in (first, second)
        ]
        await first.guest.displays[0].enable(frames[0])
        with pytest.raises(GuestError) as caught:
            await second.guest.displays[0].enable(frames[1])
        assert caught.value.errno == errno.EBUSY
        await m.host.toolstack.destroy(first)
        await second.guest.displays[0].enable(frames[1])


@pytest.mark.parametrize("resolution", ["0x0", "800", "800xabc", "99999x1", "-1x5"])
async def test_a_bad_resolution_leaves_the_guest_without_display_and_is_named(
    machine: Machines, caplog: pytest.LogCaptureFixture, resolution: str
) -> None:
    async with machine() as m:
        domain = await m.host.toolstack.create([("HDMI-A-1", resolution)])
        with trio.fail_after(3):
            while f"0/resolution is '{resolution}'" not in caplog.text:
                await trio.sleep(0.02)
        assert domain.guest.backend_state == XenbusState.InitWait
        await m.guest(("HDMI-A-2", "800x600"), name="other")


async def test_a_connector_node_that_the_guest_made_is_refused(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        domain = await m.host.toolstack.create([("HDMI-A-1", "800x600")], start=False)
        guest = domain.guest
        path = f"/local/domain/{domain.domid}/device/vdispl/0/0"
        guest.store.remove(path)
        guest.store.write(f"{path}/resolution", b"800x600")
        guest.store.write(f"{path}/unique-id", b"HDMI-A-2")
        guest.start()
        with trio.fail_after(3):
            while "not one that the guest made" not in caplog.text:
                await trio.sleep(0.02)
        assert guest.backend_state == XenbusState.InitWait


async def test_garbage_in_state_is_ignored(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        guest.store.write(f"{guest.path}/state", "99 bottles")
        await trio.sleep(0.2)
        guest.store.write(f"{guest.path}/state", "4")
        await guest.create_framebuffer(800, 600, "XR24")


async def test_a_ring_overflow_closes_that_frontend_alone(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        other = await m.guest(("HDMI-A-2", "800x600"), name="other")
        domain = await m.domain()
        ring = domain.guest.displays[0].requests
        ring.publish(1000)
        ring.kick()
        await domain.guest.unplugged()
        assert "req_prod 1000" in caplog.text
        framebuffer = await other.create_framebuffer(800, 600, "XR24")
        await other.displays[0].enable(framebuffer)
        # It may come back: a new connection, a new ring.
        await domain.guest.connected()


def create(guest: Guest, **changes: int) -> DbufCreate:
    """A request that would succeed, but for ``changes``."""
    buffer = guest.allocate(800 * 600 * 4)
    fields = {
        "dbuf_cookie": 0x1000,
        "width": 800,
        "height": 600,
        "bpp": 32,
        "buffer_sz": 800 * 600 * 4,
        "flags": 0,
        "gref_directory": buffer.directory_ref,
    }
    return DbufCreate(0, **(fields | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"dbuf_cookie": 0}, errno.EINVAL),
        ({"buffer_sz": 0}, errno.EINVAL),
        ({"buffer_sz": 0xFFFFFFFF}, errno.EINVAL),
        ({"width": 0xFFFFFFFF, "height": 0xFFFFFFFF}, errno.EINVAL),
        ({"buffer_sz": 4096}, errno.EINVAL),
        ({"bpp": 7}, errno.EINVAL),
        ({"flags": 0x80}, errno.EINVAL),
        ({"flags": 1}, errno.EACCES),
        ({"gref_directory": 0}, errno.EINVAL),
        ({"gref_directory": 0x7FFFFFF}, errno.EINVAL),
        ({"data_ofs": 5000, "width": 0, "height": 0, "bpp": 0}, errno.EINVAL),
    ],
)
async def test_dbuf_create_with_bad_values(
    machine: Machines, changes: dict[str, int], expected: int
) -> None:
    async with machine() as m:
        guest = await m.guest()
        assert await refused(guest, create(guest, **changes)) == expected


async def test_cookies_in_use_and_unknown_ones(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        assert await refused(guest, create(guest)) == 0
        assert await refused(guest, create(guest)) == errno.EEXIST
        attach = FbAttach(0, 0x1000, 0x2000, 800, 600, XR24)
        assert await refused(guest, attach) == 0
        assert await refused(guest, attach) == errno.EEXIST
        assert await refused(guest, FbAttach(0, 0x9999, 0x2001, 800, 600, XR24)) == errno.ENOENT
        assert await refused(guest, PgFlip(0, 0x9999)) == errno.ENOENT
        assert await refused(guest, FbDetach(0, 0x9999)) == errno.ENOENT
        assert await refused(guest, DbufDestroy(0, 0x9999)) == errno.ENOENT
        # A buffer that is destroyed takes its framebuffers along, and its cookie is free again.
        assert await refused(guest, DbufDestroy(0, 0x1000)) == 0
        assert await refused(guest, PgFlip(0, 0x2000)) == errno.ENOENT
        assert await refused(guest, create(guest)) == 0


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [(801, 600, "XR24"), (800, 601, "XR24"), (0, 600, "XR24"), (800, 600, "NV12")],
)
async def test_a_framebuffer_that_its_buffer_does_not_hold_is_refused(
    machine: Machines, width: int, height: int, name: str
) -> None:
    async with machine() as m:
        guest = await m.guest()
        assert await refused(guest, create(guest)) == 0
        attach = FbAttach(0, 0x1000, 0x2000, width, height, fourcc(name))
        assert await refused(guest, attach) == errno.EINVAL


def imported(cookie: int, buffer: GuestBuffer) -> DbufCreate:
    return DbufCreate(0, cookie, 0, 0, 0, buffer.size, 0, buffer.directory_ref)


async def test_a_directory_that_loops_or_repeats_or_ends_early_is_refused(
    machine: Machines,
) -> None:
    async with machine() as m:
        guest = await m.guest()
        looping, short, repeating = (guest.allocate(2000 * 4096) for _ in range(3))
        looping.set_directory_entry(0, 0, looping.directory_ref)
        short.set_directory_entry(0, 0, 0)
        repeating.set_directory_entry(1, 2, repeating.refs[0])
        for cookie, buffer in enumerate((looping, short, repeating), 1):
            assert await refused(guest, imported(cookie, buffer)) == errno.EINVAL
        assert await refused(guest, imported(9, guest.allocate(2000 * 4096))) == 0


async def test_operations_that_version_1_lacks_are_refused(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        assert await refused(guest, GetEdid(0, 32768, 8)) == errno.EOPNOTSUPP


async def test_a_flip_before_the_last_one_was_shown_is_refused_without_effect(
    machine: Machines,
) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(framebuffer)
        guest.freeze()
        m.host.device.stuck = True
        ring = guest.displays[0].requests
        for request_id in range(10):
            ring.put(encode_request(PgFlip(request_id, framebuffer.cookie)))
        ring.push()
        ring.kick()
        with trio.fail_after(3):
            responses: list[bytes] = []
            while len(responses) < 10:
                responses += ring.take()
                await trio.sleep(0.01)
        statuses = [struct.unpack_from("<i", response, 4)[0] for response in responses]
        m.host.device.stuck = False
        guest.thaw()
        assert statuses[0] == 0
        assert set(statuses[1:]) == {-errno.EBUSY}


async def test_a_paged_out_guest_times_out_alone(machine: Machines) -> None:
    async with machine() as m:
        other = await m.guest(("HDMI-A-2", "800x600"), name="other")
        domain = await m.domain()
        request = create(domain.guest)
        domain.memory.page_out()
        async with trio.open_nursery() as nursery:

            async def flip() -> None:
                frames = [await other.create_framebuffer(800, 600, "XR24") for _ in range(2)]
                await other.displays[0].enable(frames[0])
                for number in range(30):
                    await other.displays[0].flip(frames[number % 2])

            nursery.start_soon(flip)
            assert await refused(domain.guest, request) == errno.ETIMEDOUT
        domain.memory.page_in()
        await trio.sleep(0.2)
        assert other.displays[0].frame_done_timeouts == 0
        # What was mapped too late was unmapped: only the two ring pages are left.
        assert m.host.memory.mapped(domain.domid) == 2


async def test_a_card_without_dumb_buffers_is_named(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    device = DisplayDevice(connectors=["HDMI-A-1"])
    device.dumb = False
    async with machine([device]) as m:
        await m.guest()
        with trio.fail_after(3):
            while "dumb buffers" not in caplog.text:
                await trio.sleep(0.02)


async def test_a_refused_commit_darkens_the_output_and_the_guest_runs_on(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(framebuffer)
        m.host.device.refuse_commits = errno.EINVAL
        for _ in range(5):
            await guest.displays[0].flip(framebuffer)
        assert "HDMI-A-1: dark until" in caplog.text
        m.host.device.refuse_commits = 0
        await guest.displays[0].enable(framebuffer)
        assert m.host.device.screen("HDMI-A-1") is not None


async def flood(guest: Guest) -> None:
    guest.freeze()
    ring = guest.displays[0].requests
    while True:
        for _ in range(32):
            ring.put(bytes(64))
        ring.push()
        ring.kick()
        while not ring.take():
            await trio.sleep(0.001)


async def test_a_flood_of_bad_requests_does_not_stop_another_guest(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        other = await m.guest(("HDMI-A-2", "800x600"), name="other")
        hostile = await m.guest(name="hostile")
        frames = [await other.create_framebuffer(800, 600, "XR24") for _ in range(2)]
        await other.displays[0].enable(frames[0])
        with trio.move_on_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, hostile)
                while True:
                    await other.displays[0].flip(frames[1])
                    frames.reverse()
        assert other.displays[0].frame_done_timeouts == 0
        assert other.displays[0].flips > 30
        assert caplog.text.count("operation 0x0 is unknown") <= 20


async def test_a_card_that_loses_a_flip_event_does_not_hold_its_guest_for_ever(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        display = guest.displays[0]
        await display.enable(framebuffer)
        m.host.device.stuck = True
        for _ in range(3):
            await display.flip(framebuffer)
        assert display.flips == 3
        assert display.frame_done_timeouts == 0
        assert "HDMI-A-1: dark until it works again: no flip event" in caplog.text
        m.host.device.stuck = False
        while m.host.device.screen("HDMI-A-1") is None:
            await trio.sleep(0.05)
        await display.flip(framebuffer)


async def test_destroying_a_buffer_while_another_channel_flips_to_it_reads_no_freed_memory(
    machine: Machines,
) -> None:
    """A read of unmapped pages would end this process."""
    async with machine() as m:
        guest = await m.guest(("HDMI-A-1", "800x600"), ("HDMI-A-2", "800x600"))
        stays = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[1].enable(stays)
        for _ in range(15):
            goes = await guest.create_framebuffer(800, 600, "XR24")
            ring = guest.displays[1].requests
            for number in range(8):
                cookie = goes.cookie if number % 2 else stays.cookie
                ring.put(encode_request(PgFlip(number, cookie)))
            ring.push()
            ring.kick()
            await guest.destroy_framebuffer(goes)
            # The two ring pages of each connector, and the buffer that stays.
            assert m.host.memory.mapped(guest.memory.domid) == 4 + 469
