# SPDX-License-Identifier: GPL-2.0-or-later
"""A card that says nothing of a flip, and a guest that does not wait for it."""

from __future__ import annotations

import pytest
import trio

from tests.outputs.kit import running
from xendisplback.frontend import connection
from xendisplback.sim import device

SECONDS = 3.0
"""A guest waits so long for an answer."""


@pytest.fixture(autouse=True)
def kernel_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit waits for the flip before it for less than the kernel's 10 s."""
    monkeypatch.setattr(device, "STUCK_SECONDS", 0.5)


def test_a_release_outlasts_the_kernels_patience() -> None:
    assert connection.RELEASE_SECONDS > 2 * 10


async def test_a_guest_that_dies_in_the_middle_of_a_flip_that_never_ends_is_released() -> None:
    async with running() as m:
        domain = await m.domain()
        guest = domain.guest
        frames = [await guest.create_framebuffer(800, 600, "XR24") for _ in range(2)]
        await guest.displays[0].enable(frames[0])
        await guest.displays[0].flip(frames[1])
        m.host.device.stuck = True
        await guest.displays[0].send_flip(frames[0].cookie)
        domain.die()
        with trio.fail_after(SECONDS):
            await m.released(domain.domid)
        m.host.device.stuck = False


async def test_a_buffer_in_a_flip_that_never_ends_is_destroyed_in_time() -> None:
    async with running() as m:
        guest = await m.guest()
        frames = [await guest.create_framebuffer(800, 600, "XR24") for _ in range(2)]
        await guest.displays[0].enable(frames[0])
        await guest.displays[0].flip(frames[1])
        m.host.device.stuck = True
        await guest.displays[0].send_flip(frames[0].cookie)
        await guest.destroy_framebuffer(frames[0])
        m.host.device.stuck = False
        await guest.destroy_framebuffer(frames[1])
