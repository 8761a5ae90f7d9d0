# SPDX-License-Identifier: GPL-2.0-or-later
"""[allow]: which domain may drive which output, with which memory."""

from __future__ import annotations

import errno
import logging

import pytest
import trio

from tests.frontend.conftest import Machine, Machines, is_dark
from xendisplback.config import AllowSettings, BackendAllocation, Config
from xendisplback.protocol.xenbus import XenbusState
from xendisplback.scanout.layout import GuestName, LayoutError, Place
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.kernel import SimKernel

UUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


def allowed(**domains: AllowSettings) -> Config:
    return Config(allow=domains)


async def show(domain: Domain, colour: int = 0xFF0000) -> None:
    guest = domain.guest
    frame = await guest.create_framebuffer(800, 600)
    frame.buffer.pixels[:] = colour.to_bytes(4, "little") * (800 * 600)
    await guest.displays[0].enable(frame)
    await guest.displays[0].flip(frame)


async def created(m: Machine, name: str = "guest") -> Domain:
    """Not waited for: it may never be connected."""
    return await m.host.toolstack.create([("HDMI-A-1", "800x600")], name=name)


async def test_a_domain_that_is_named_is_served(machine: Machines) -> None:
    async with machine(config=allowed(guest=AllowSettings(outputs=["HDMI-A-1"]))) as m:
        await show(await m.domain())
        assert not is_dark(m.host)


async def test_one_that_is_not_stays_without_a_display_and_the_log_says_what_to_write(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine(config=allowed(other=AllowSettings())) as m:
        domain = await created(m)
        await trio.sleep(1)
        assert domain.guest.backend_state is XenbusState.InitWait
        said = [r.getMessage() for r in caplog.records if "not served" in r.getMessage()]
        assert len(said) == 1
        assert f"domid:{domain.domid} or guest" in said[0]
        assert m.host.memory.mapped(domain.domid) == 0


@pytest.mark.parametrize("key", ["uuid", "domid"])
async def test_a_domain_is_known_by_uuid_and_domid_too(machine: Machines, key: str) -> None:
    settings = {"uuid": f"uuid:{UUID}", "domid": "domid:1"}
    async with machine(config=Config(allow={settings[key]: AllowSettings()})) as m:
        domain = await m.host.toolstack.create([("HDMI-A-1", "800x600")], start=False)
        assert domain.domid == 1
        m.host.toolstack.store.write("/local/domain/1/vm", f"/vm/{UUID}")
        domain.guest.start()
        await domain.guest.connected()


async def test_a_uuid_that_the_guest_wrote_is_not_believed(machine: Machines) -> None:
    async with machine(config=Config(allow={f"uuid:{UUID}": AllowSettings()})) as m:
        domain = await m.host.toolstack.create([("HDMI-A-1", "800x600")], start=False)
        store = m.host.toolstack.store
        store.write("/local/domain/1/vm", f"/vm/{UUID}")
        store.set_permissions("/local/domain/1/vm", "n1", "r0")
        domain.guest.start()
        await trio.sleep(1)
        assert domain.guest.backend_state is XenbusState.InitWait


async def test_another_output_is_refused_and_nothing_is_shown_there(machine: Machines) -> None:
    async with machine(config=allowed(guest=AllowSettings(outputs=["HDMI-A-2"]))) as m:
        domain = await m.domain()
        with pytest.raises(GuestError) as caught:
            await show(domain)
        assert caught.value.errno == errno.EACCES
        assert is_dark(m.host)


async def test_a_route_does_not_lead_around_it(machine: Machines) -> None:
    async with machine(config=allowed(guest=AllowSettings(outputs=["HDMI-A-1"]))) as m:
        await show(await m.domain())
        away = {GuestName("guest", 0, 0): (Place.parse("HDMI-A-2"),)}
        with pytest.raises(LayoutError, match=r"HDMI-A-2; outputs in \[allow"):
            await m.service.outputs.route(away)
        assert not is_dark(m.host)
        assert is_dark(m.host, "HDMI-A-2")


async def test_without_zero_copy_its_pictures_are_copied(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = allowed(guest=AllowSettings(zero_copy=False))
    async with machine([DisplayDevice()], config, SimKernel(gntdev_dmabuf=True)) as m:
        await show(await m.domain())
        shown = [r.getMessage() for r in caplog.records if "shown on" in r.getMessage()]
        assert 'zero-copy = false in [allow."guest"]' in shown[0]
        assert "by copy" in shown[0]
        assert m.host.counts.exports == 0


async def test_without_be_alloc_it_gets_no_memory_of_ours(machine: Machines) -> None:
    config = Config(
        allow={"guest": AllowSettings(be_alloc=False)},
        be_alloc=BackendAllocation(per_domain=16),
    )
    async with machine(config=config) as m:
        domain = await m.domain(be_alloc=True)
        with pytest.raises(GuestError) as caught:
            await domain.guest.create_framebuffer(800, 600)
        assert caught.value.errno == errno.EACCES


async def test_a_configured_route_to_another_s_output_keeps_nobody_from_it(
    machine: Machines,
) -> None:
    config = Config(
        allow={"one": AllowSettings(outputs=["HDMI-A-2"]), "two": AllowSettings()},
        route={"one": ["HDMI-A-1"]},
    )
    async with machine(config=config) as m:
        with pytest.raises(GuestError):
            await show(await m.domain(name="one"))
        await m.service.reload(config)
        await show(await m.domain(name="two"))
        assert not is_dark(m.host)


async def test_a_guest_with_an_output_that_none_can_be_keeps_no_one_from_being_moved(
    machine: Machines,
) -> None:
    async with machine() as m:
        await m.domain(("HDMI:1", "800x600"), name="odd")
        await show(await m.domain(name="two"))
        await m.service.outputs.route({GuestName("two", 0, 0): (Place.parse("HDMI-A-2"),)})
        assert is_dark(m.host)
        assert not is_dark(m.host, "HDMI-A-2")
