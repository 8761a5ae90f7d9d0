# SPDX-License-Identifier: GPL-2.0-or-later
"""Two guests that work together get no output that the toolstack did not give them."""

from __future__ import annotations

import pytest
import trio

from tests.frontend.conftest import Machines
from xendisplback.protocol.xenbus import XenbusState


async def test_a_node_that_another_guest_made_is_not_the_toolstack_s(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        helper = await m.domain(("HDMI-A-1", "800x600"), name="helper")
        domain = await m.host.toolstack.create([("HDMI-A-1", "800x600")], start=False)
        guest = domain.guest
        path = f"/local/domain/{domain.domid}/device/vdispl/0/0"
        guest.store.remove(path)
        guest.store.mkdir(path)
        guest.store.set_permissions(path, f"n{domain.domid}", "r0", f"b{helper.domid}")
        # xenstored makes an unprivileged domain the owner of what it creates, wherever that is.
        for leaf, value in (("resolution", b"800x600"), ("unique-id", b"HDMI-A-2")):
            helper.guest.store.write(f"{path}/{leaf}", value)
            helper.guest.store.set_permissions(
                f"{path}/{leaf}", f"n{helper.domid}", "r0", f"r{domain.domid}"
            )
        guest.start()
        with trio.fail_after(3):
            while "the toolstack's node" not in caplog.text:
                await trio.sleep(0.02)
        assert guest.backend_state == XenbusState.InitWait
