# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that are paused or paged out: at each stage, for longer than we wait, beside one that goes on."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import trio

from tests.faults.kit import (
    CONNECTOR,
    SIZE,
    a_fresh_guest_works,
    end,
    nothing_is_left,
    try_to_use,
    use,
)
from tests.faults.test_start import no_fault_logged
from tests.frontend.conftest import Machine, run_machine
from tests.outputs.kit import BLUE, RED, Player, goes_on, playing
from xendisplback.frontend import connection, requests
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.kernel import SimKernel

DEADLINE = 0.3
"""In place of our patience for a request's memory."""
OUT_SECONDS = 2.0
"""In place of a minute: several deadlines."""


@pytest.mark.parametrize("comes_back", [False, True], ids=["dies", "comes back"])
@pytest.mark.parametrize("exports", [False, True], ids=["copy", "zero copy"])
@pytest.mark.parametrize("when", ["before it connects", "before its buffers"])
async def test_a_guest_is_paged_out(when: str, *, exports: bool, comes_back: bool) -> None:
    with (
        no_fault_logged(),
        patch.object(connection, "REQUEST_SECONDS", DEADLINE),
        patch.object(requests, "REQUEST_SECONDS", DEADLINE),
    ):
        async with run_machine(None, None, SimKernel(gntdev_dmabuf=exports), seconds=40) as m:
            async with playing(m, "other", "HDMI-A-2", RED, SIZE) as other:
                await _page_out(m, when, other, comes_back=comes_back)
            await a_fresh_guest_works(m)


async def _page_out(m: Machine, when: str, other: Player, *, comes_back: bool) -> None:
    domain = await m.host.toolstack.create([CONNECTOR], start=False)
    if when == "before it connects":
        domain.memory.page_out()
    domain.guest.start()
    if when == "before its buffers":
        await domain.guest.connected()
        domain.memory.page_out()
        with pytest.raises(GuestError, match="timed out"):
            await use(domain)
    with trio.move_on_after(OUT_SECONDS):
        while True:
            await goes_on(other)
    if not comes_back:
        await end(m, domain)
        return
    domain.memory.page_in()
    # Refused while its rings could not be mapped, and tried again by itself.
    await domain.guest.connected()
    assert await try_to_use(domain)
    await end(m, domain)


async def test_a_guest_is_paused_in_the_middle_of_its_flips() -> None:
    """Its pages are there, but it takes no event and gives no answer; then it goes on, or is destroyed."""
    with no_fault_logged():
        async with run_machine(seconds=40) as m, playing(m, "other", "HDMI-A-2", RED) as other:
            domain = await m.domain(CONNECTOR, name="paused")
            player = Player(domain, BLUE, SIZE)
            async with trio.open_nursery() as nursery:
                await nursery.start(player.play)
                for _ in range(2):
                    player.pause()
                    await trio.sleep(0.1)
                    domain.guest.freeze()
                    with trio.move_on_after(OUT_SECONDS):
                        while True:
                            await goes_on(other)
                    domain.guest.thaw()
                    player.go_on()
                    await goes_on(player)
                player.pause()
                await trio.sleep(0.1)
                domain.guest.freeze()
                nursery.cancel_scope.cancel()
            domain.die()
            await nothing_is_left(m, domain.domid)
            await m.host.toolstack.destroy(domain)
            await a_fresh_guest_works(m)
