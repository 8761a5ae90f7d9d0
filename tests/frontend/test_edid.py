# SPDX-License-Identifier: GPL-2.0-or-later
"""GET_EDID from a version 2 frontend (Linux's has none: seen with the simulated guest only)."""

from __future__ import annotations

from tests.frontend.conftest import Machine, Machines
from xendisplback.protocol.displif import GetEdid
from xendisplback.protocol.edid import made_edid
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest import Guest

SIZE = 32768


async def version_2_guest(m: Machine) -> Guest:
    domain = await m.host.toolstack.create([("HDMI-A-1", "800x600")], start=False)
    domain.guest.store.write(f"{domain.guest.path}/version", "2")
    domain.guest.start()
    await domain.guest.connected()
    return domain.guest


async def test_the_monitors_edid_is_written_into_the_guests_pages(machine: Machines) -> None:
    async with machine() as m:
        guest = await version_2_guest(m)
        buffer = guest.allocate(SIZE)
        response = await guest.request(0, GetEdid(0, SIZE, buffer.directory_ref))
        edid = bytes(buffer.pixels[: response.edid_sz])
        assert response.status == 0
        assert edid.startswith(bytes.fromhex("00ffffffffffff00"))
        assert len(edid) % 128 == 0
        assert sum(edid[:128]) % 256 == 0
        assert not any(buffer.pixels[response.edid_sz :])
        # Only the two ring pages stay mapped.
        assert m.host.memory.mapped(guest.memory.domid) == 2


async def test_a_size_beyond_every_budget_maps_no_more_than_the_edid_needs(
    machine: Machines,
) -> None:
    async with machine() as m:
        guest = await version_2_guest(m)
        buffer = guest.allocate(SIZE)
        response = await guest.request(0, GetEdid(0, 0xFFFFFFFF, buffer.directory_ref))
        assert response.status == 0
        assert response.edid_sz == 128


async def test_without_a_monitor_it_is_made_for_the_guests_size(machine: Machines) -> None:
    device = DisplayDevice(connectors=["HDMI-A-1"])
    device.disconnect("HDMI-A-1")
    async with machine([device]) as m:
        guest = await version_2_guest(m)
        buffer = guest.allocate(SIZE)
        response = await guest.request(0, GetEdid(0, SIZE, buffer.directory_ref))
        assert (response.status, response.edid_sz) == (0, 128)
        assert bytes(buffer.pixels[:128]) == made_edid(800, 600)
