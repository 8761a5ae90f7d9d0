# SPDX-License-Identifier: GPL-2.0-or-later
"""What every fault has to leave: nothing of the guest that it met, and a host on which a fresh guest works."""

from __future__ import annotations

import trio

from tests.frontend.conftest import Machine
from tests.outputs.kit import colour_at, until
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest_channel import GuestError

SIZE = (640, 480)
CONNECTOR = ("HDMI-A-1", "640x480")
RELEASE_SECONDS = 5.0


async def use(domain: Domain, colour: int = 0x00FF00, flips: int = 2) -> None:
    """A picture, then flips. Raises GuestError, TooSlowError."""
    guest = domain.guest
    with trio.fail_after(RELEASE_SECONDS):
        await guest.connected()
    frames = [await guest.create_framebuffer(*SIZE, "XR24") for _ in range(2)]
    for frame in frames:
        frame.fill(colour)
    display = guest.displays[0]
    await display.enable(frames[0])
    for _ in range(flips):
        frames.reverse()
        await display.flip(frames[0])


async def try_to_use(domain: Domain) -> bool:
    """Whether it worked."""
    try:
        await use(domain)
    except (GuestError, trio.TooSlowError):
        return False
    return True


async def end(m: Machine, domain: Domain) -> None:
    """Destroyed; nothing of it is left. Raises TooSlowError."""
    await m.host.toolstack.destroy(domain)
    await nothing_is_left(m, domain.domid)


async def nothing_is_left(m: Machine, domid: int) -> None:
    """Raises TooSlowError."""
    host = m.host
    with trio.fail_after(RELEASE_SECONDS):
        await m.released(domid)
    assert domid not in host.memory.zombies
    assert not [port for port in host.channels.ports.values() if port.remote_domid == domid]
    assert host.memory.backend.granted(domid) == 0


async def a_fresh_guest_works(m: Machine, colour: int = 0x0000FF) -> None:
    domain = await m.host.toolstack.create([CONNECTOR], name="fresh")
    await use(domain, colour)
    await until(lambda: colour_at(m.host, CONNECTOR[0]) == colour, "its picture is not shown")
    await end(m, domain)
