# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that flip all the time, each in its own colour, and what screens show of them."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from tests.frontend.conftest import Machine, run_machine
from xendisplback.config import Config
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel


def configured(toml: str) -> Config:
    return msgspec.convert(tomllib.loads(toml), Config)


RED, GREEN, BLUE = 0xFF0000, 0x00FF00, 0x0000FF
SECONDS = 8.0


@asynccontextmanager
async def running(
    *devices: DisplayDevice, config: Config | None = None
) -> AsyncGenerator[Machine, None]:
    """A daemon in a domain whose kernel exports; checks at the end that nothing is left."""
    chosen = list(devices) or [DisplayDevice()]
    async with run_machine(chosen, config, SimKernel(gntdev_dmabuf=True)) as machine:
        yield machine


async def until(condition: Callable[[], bool], what: str) -> None:
    with trio.move_on_after(SECONDS):
        while not condition():
            await trio.sleep(0.01)
    assert condition(), what


class Player:
    """A guest of one connector that flips between two framebuffers of one colour, as fast as it can."""

    def __init__(self, domain: Domain, colour: int, size: tuple[int, int], index: int = 0) -> None:
        self.domain = domain
        self.colour = colour
        self.display = domain.guest.displays[index]
        self._size = size
        self.moving = trio.Event()
        """Cleared by :meth:`pause`."""
        self.moving.set()

    async def play(self, *, task_status: trio.TaskStatus[None]) -> None:
        guest = self.domain.guest
        frames = [await guest.create_framebuffer(*self._size, "XR24") for _ in range(2)]
        for frame in frames:
            pixel = self.colour.to_bytes(4, "little")
            frame.buffer.pixels[:] = pixel * (len(frame.buffer.pixels) // 4)
        await self.display.enable(frames[0])
        task_status.started()
        number = 0
        while True:
            await self.moving.wait()
            number += 1
            with trio.CancelScope(shield=True):
                await self.display.flip(frames[number % 2])

    def pause(self) -> None:
        self.moving = trio.Event()

    def go_on(self) -> None:
        self.moving.set()

    def noticed_nothing(self) -> bool:
        display = self.display
        return (display.skipped_events, display.frame_done_timeouts) == (0, 0)


@asynccontextmanager
async def playing(
    m: Machine,
    name: str,
    output: str,
    colour: int,
    size: tuple[int, int] = (800, 600),
) -> AsyncGenerator[Player, None]:
    """A guest called ``name`` whose xl configuration names ``output``; checks that it noticed nothing.

    It is destroyed in the end.
    """
    domain = await m.domain((output, f"{size[0]}x{size[1]}"), name=name)
    player = Player(domain, colour, size)
    async with trio.open_nursery() as nursery:
        await nursery.start(player.play)
        yield player
        nursery.cancel_scope.cancel()
    assert player.noticed_nothing()
    await m.host.toolstack.destroy(domain)


def running_state(m: Machine) -> Any:
    """What ``xendisplback layout --json`` tells."""
    return m.service.outputs.layout()


def colour_at(host: SimHost, output: str, x: int = 5, y: int = 5) -> int | None:
    """What a screen shows there; None: it is dark."""
    for device in host.devices:
        if output in [connector.name for connector in device.objects.connectors.values()]:
            screen = device.screen(output)
            return screen.colour(x, y) if screen is not None else None
    return None


async def shows(m: Machine, output: str, colour: int, x: int = 5, y: int = 5) -> None:
    await until(
        lambda: colour_at(m.host, output, x, y) == colour,
        f"{output} shows {colour_at(m.host, output, x, y)}, not {colour:#08x}",
    )


async def is_black(m: Machine, output: str) -> None:
    await until(lambda: not colour_at(m.host, output), f"{output} is not black")


async def goes_on(player: Player) -> None:
    """It flips on, at once."""
    before = player.display.flips
    await until(lambda: player.display.flips >= before + 5, "the guest's flips stopped")
