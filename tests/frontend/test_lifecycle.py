# SPDX-License-Identifier: GPL-2.0-or-later
"""A device's life with a frontend that behaves like xen_drm_front, and a toolstack that behaves like libxl."""

from __future__ import annotations

import trio

from tests.frontend.conftest import Machine, Machines, is_dark
from xendisplback.config import Config
from xendisplback.daemon.service import Service
from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest import Guest
from xendisplback.sim.host import SimHost


async def show(guest: Guest) -> None:
    framebuffer = await guest.create_framebuffer(800, 600, "XR24")
    framebuffer.fill(0xFFFFFF)
    await guest.displays[0].enable(framebuffer)


async def flip_for_ever(guest: Guest) -> None:
    frames = [await guest.create_framebuffer(800, 600, "XR24") for _ in range(2)]
    await guest.displays[0].enable(frames[0])
    while True:
        await guest.displays[0].flip(frames[1])
        frames.reverse()


def dark(m: Machine, name: str = "HDMI-A-1") -> bool:
    return is_dark(m.host, name)


async def test_versions_is_written(machine: Machines) -> None:
    async with machine() as m:
        domain = await m.domain()
        path = f"/local/domain/0/backend/vdispl/{domain.domid}/0/versions"
        assert m.host.toolstack.store.get(path) == "1,2"


async def test_module_unload_and_load_shows_a_picture_again(machine: Machines) -> None:
    async with machine() as m:
        domain = await m.domain()
        await show(domain.guest)
        await domain.guest.unload()
        await m.released(domain.domid)
        assert dark(m)
        await domain.guest.load()
        await domain.guest.connected()
        await show(domain.guest)
        assert not dark(m)
        assert not domain.memory.deferred


async def test_guest_shutdown_sees_closing_and_is_released(machine: Machines) -> None:
    async with machine() as m:
        domain = await m.domain()
        await show(domain.guest)
        assert await domain.guest.shutdown()
        await m.released(domain.domid)
        assert dark(m)
        assert not domain.memory.deferred
        await m.host.toolstack.destroy(domain)


async def test_detach_and_attach(machine: Machines) -> None:
    async with machine() as m:
        domain = await m.domain()
        await show(domain.guest)
        await m.host.toolstack.detach(domain)
        await m.released(domain.domid)
        assert dark(m)
        guest = await m.host.toolstack.attach(domain, [("HDMI-A-1", "800x600")])
        await guest.connected()
        await show(guest)
        assert not dark(m)


async def test_a_guest_that_dies_in_the_middle_of_flips_is_released_and_blanked(
    machine: Machines,
) -> None:
    async with machine() as m:
        domain = await m.domain()
        with trio.move_on_after(0.3):
            await flip_for_ever(domain.guest)
        domain.die()
        await m.released(domain.domid)
        assert dark(m)


async def test_destroy_in_the_middle_of_flips_then_start_again(machine: Machines) -> None:
    async with machine() as m:
        for _ in range(2):
            domain = await m.domain()
            with trio.move_on_after(0.2):
                await flip_for_ever(domain.guest)
            await m.host.toolstack.destroy(domain)
            assert m.host.memory.mapped(domain.domid) == 0
            assert dark(m)


async def test_the_next_guest_never_sees_the_last_one_s_picture(machine: Machines) -> None:
    async with machine() as m:
        first = await m.domain()
        await show(first.guest)
        first.die()
        await m.released(first.domid)
        second = await m.guest()
        framebuffer = await second.create_framebuffer(800, 600, "XR24")
        await second.displays[0].enable(framebuffer)
        shot = m.host.device.screen("HDMI-A-1")
        assert shot is not None
        assert not any(shot.pixels)


async def test_a_guest_that_waited_for_the_daemon_is_served_when_it_starts() -> None:
    with trio.fail_after(20):
        async with SimHost() as host:
            domain = await host.toolstack.create([("HDMI-A-1", "800x600")], wait=False)
            await serve_and_show(host, domain.guest)


async def test_daemon_restart_serves_running_guests_again() -> None:
    with trio.fail_after(20):
        async with SimHost() as host:
            domain = await host.toolstack.create([("HDMI-A-1", "800x600")], wait=False)
            await serve_and_show(host, domain.guest)
            assert host.memory.mapped() == 0
            assert domain.guest.backend_state == XenbusState.Closed
            await serve_and_show(host, domain.guest)


async def serve_and_show(host: SimHost, guest: Guest) -> None:
    """Start the daemon, show a picture, stop the daemon in an orderly way."""
    async with trio.open_nursery() as nursery:
        service = Service(Config(), host)
        await nursery.start(service.run)
        await guest.connected()
        await show(guest)
        assert host.device.screen("HDMI-A-1") is not None
        service.stop()
    assert is_dark(host)


async def test_a_killed_daemon_s_guests_reconnect_to_the_next_one() -> None:
    """The frontend is still at Connected when the daemon starts."""
    with trio.fail_after(20):
        async with SimHost() as host:
            domain = await host.toolstack.create([("HDMI-A-1", "800x600")], wait=False)
            async with trio.open_nursery() as nursery:
                await nursery.start(Service(Config(), host).run)
                await domain.guest.connected()
                nursery.cancel_scope.cancel()
            assert domain.guest.state == XenbusState.Connected
            await serve_and_show(host, domain.guest)


async def test_a_guest_that_waits_for_a_daemon_that_ended_is_served_by_the_next_one() -> None:
    """Its frontend has published its rings, and is still at Initialised when the daemon starts."""
    with trio.fail_after(20):
        async with SimHost() as host:
            domain = await host.toolstack.create([("HDMI-A-1", "800x600")], wait=False)
            async with trio.open_nursery() as nursery:
                await nursery.start(Service(Config(), host).run)
                while domain.guest.state != XenbusState.Initialised:
                    await trio.sleep(0.001)
                nursery.cancel_scope.cancel()
            assert domain.guest.state == XenbusState.Initialised
            await serve_and_show(host, domain.guest)


async def test_init_wait_does_not_wait_for_a_slow_card() -> None:
    device = DisplayDevice(connectors=["HDMI-A-1"])
    device.open_seconds = 1.5
    with trio.fail_after(20):
        async with SimHost([device]) as host, trio.open_nursery() as nursery:
            service = Service(Config(), host)
            await nursery.start(service.run)
            start = trio.current_time()
            domain = await host.toolstack.create([("HDMI-A-1", "800x600")])
            assert trio.current_time() - start < 1
            await domain.guest.connected()
            await show(domain.guest)
            service.stop()


async def test_status_is_ready_and_then_dead() -> None:
    path = "/local/domain/0/drivers/displbe/status"
    with trio.fail_after(20):
        async with SimHost() as host:
            async with trio.open_nursery() as nursery:
                service = Service(Config(), host)
                await nursery.start(service.run)
                assert host.toolstack.store.get(path) == "ready"
                service.stop()
            assert host.toolstack.store.get(path) == "dead"


async def test_a_card_that_vanishes_leaves_the_guest_and_the_other_card_running(
    machine: Machines,
) -> None:
    devices = [DisplayDevice(connectors=["HDMI-A-1"]), DisplayDevice(connectors=["DP-1"])]
    async with machine(devices) as m:
        first = await m.guest(("HDMI-A-1", "800x600"), name="first")
        second = await m.guest(("DP-1", "800x600"), name="second")
        for guest in (first, second):
            await show(guest)
        devices[0].unplug()
        framebuffer = await first.create_framebuffer(800, 600, "XR24")
        for _ in range(5):
            await first.displays[0].flip(framebuffer)
        assert first.displays[0].frame_done_timeouts == 0
        other = await second.create_framebuffer(800, 600, "XR24")
        other.fill(0x00FF00)
        await second.displays[0].flip(other)
        shot = devices[1].screen("DP-1")
        assert shot is not None
        assert bytes(shot.pixels) == bytes.fromhex("00ff0000") * (800 * 600)
