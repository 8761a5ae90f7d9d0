# SPDX-License-Identifier: GPL-2.0-or-later
"""Nodes that are missing, or vanish while a guest is served."""

from __future__ import annotations

import pytest
import trio

from tests.frontend.conftest import Machines, is_dark
from xendisplback.protocol.xenbus import XenbusState


@pytest.mark.parametrize("leaf", ["unique-id", "resolution"])
async def test_a_connector_without_a_node_of_the_toolstack_is_named(
    machine: Machines, caplog: pytest.LogCaptureFixture, leaf: str
) -> None:
    async with machine() as m:
        domain = await m.host.toolstack.create([("HDMI-A-1", "800x600")], start=False)
        m.host.toolstack.store.remove(f"{domain.guest.path}/0/{leaf}")
        domain.guest.start()
        with trio.fail_after(3):
            while f"{domain.guest.path}/0/{leaf} is missing" not in caplog.text:
                await trio.sleep(0.02)
        assert domain.guest.backend_state == XenbusState.InitWait


async def test_a_device_whose_backend_node_vanishes_is_released_and_not_recreated(
    machine: Machines,
) -> None:
    async with machine() as m:
        domain = await m.domain()
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        await domain.guest.displays[0].enable(framebuffer)
        path = f"/local/domain/0/backend/vdispl/{domain.domid}/0"
        m.host.toolstack.store.remove(path)
        await m.released(domain.domid)
        assert is_dark(m.host)
        await trio.sleep(0.1)
        assert m.host.toolstack.store.get(f"{path}/state") is None


async def test_without_the_online_node_a_device_ends_as_if_it_were_0(machine: Machines) -> None:
    async with machine() as m:
        domain = await m.domain()
        path = f"/local/domain/0/backend/vdispl/{domain.domid}/0"
        m.host.toolstack.store.remove(f"{path}/online")
        await m.released(domain.domid)
        assert m.host.toolstack.store.get(f"{path}/state") == str(int(XenbusState.Closed))
