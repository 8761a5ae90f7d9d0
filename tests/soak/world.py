# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated host with the daemon and its control socket, and who changes it at random.

Everybody draws from a generator of their own, made from the seed: the same seed makes the same choices, though not
at the same microsecond.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.soak.life import Life, SoakFailed
from xendisplback.config import BackendAllocation, Config, LayerSettings, OutputSettings
from xendisplback.daemon.service import Service
from xendisplback.errors import HostError
from xendisplback.operator.client import ask
from xendisplback.operator.control import serve_control
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel

MOST_GUESTS = 6
MODES = ("640x480", "800x600", "320x240")
CARDS = {"/dev/dri/card0": ("HDMI-A-1", "HDMI-A-2"), "/dev/dri/card1": ("DP-1",)}
OUTPUTS = [name for names in CARDS.values() for name in names]
LAYERS = [
    LayerSettings("back"),
    LayerSettings("front", zpos=1, x=0, y=0, width=320, height=240, fit="letterbox"),
]
PLACES = ["HDMI-A-1", "HDMI-A-2", "DP-1/back", "DP-1/front", "HDMI-A-9"]
"""The last one is never there."""
RELEASE_SECONDS = 20.0


def _card(path: str, overlays: int) -> DisplayDevice:
    return DisplayDevice(CARDS[path], MODES, ("XR24", "RG16"), path=path, overlays=overlays)


class World:
    def __init__(self, host: SimHost, control: str, seed: str) -> None:
        self.host = host
        self.latencies: list[float] = []
        """Of all flips since somebody cleared it."""
        self.lives = 0
        """Domains that were created so far."""
        self._control = control
        self._seed = seed
        self._living: set[str] = set()
        self._rounds = itertools.count()

    async def play(self, seconds: float) -> None:
        """A round; in the end no guest is left, and all is plugged in. Raises SoakFailed, ToolstackTimeout."""
        number = next(self._rounds)
        ending = trio.Event()
        async with trio.open_nursery() as guests:
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as changes:
                    for task in (self._plug, self._bind, self._route):
                        choose = random.Random(f"{self._seed}-{number}-{task.__name__}")
                        changes.start_soon(task, choose)
                    await self._bear(guests, ending, random.Random(f"{self._seed}-{number}"))
            ending.set()
        for device in self.host.devices:
            device.regain_allowed = True
            for output in CARDS[device.path]:
                device.connect(output)

    async def _bear(self, guests: trio.Nursery, ending: trio.Event, choose: random.Random) -> None:
        while True:
            if len(self._living) < MOST_GUESTS:
                guests.start_soon(self._live, f"guest{self.lives % 20}", ending, choose.random())
                self.lives += 1
            await trio.sleep(choose.uniform(0.05, 1.0))

    async def _live(self, name: str, ending: trio.Event, seed: float) -> None:
        choose = random.Random(seed)
        life = Life(self.host.toolstack, name, choose, self.latencies)
        self._living.add(name)
        try:
            await life.live(OUTPUTS, ending)
        finally:
            self._living.discard(name)

    @property
    def guests(self) -> int:
        return len(self._living)

    # Who changes it; tasks, until cancelled

    async def _plug(self, choose: random.Random) -> None:
        """Monitors, and who is DRM master."""
        while True:
            await trio.sleep(choose.uniform(0.2, 2.0))
            device = choose.choice(self.host.devices)
            output = choose.choice(CARDS[device.path])
            match choose.randrange(8):
                case 0:
                    device.lose_master()
                    await trio.sleep(choose.random())
                    device.regain_allowed = True
                case 1 | 2 | 3:
                    device.disconnect(output)
                case _:
                    device.connect(output)

    async def _bind(self, choose: random.Random) -> None:
        """Cards. Another one appears at the same place."""
        while True:
            await trio.sleep(choose.uniform(2.0, 8.0))
            device = choose.choice(self.host.devices)
            self.host.remove_device(device)
            with trio.CancelScope(shield=True):
                await trio.sleep(choose.random())
                self.host.add_device(_card(device.path, choose.randrange(3)))

    async def _route(self, choose: random.Random) -> None:
        """As ``xendisplback route`` does it; what the layout has no room for is refused."""
        while True:
            await trio.sleep(choose.uniform(0.1, 2.0))
            name = choose.choice(sorted(self._living) or ["nobody"])
            places = choose.choice(["default", choose.sample(PLACES, choose.randrange(4))])
            arguments = {"routes": {name: places}}
            try:
                await trio.to_thread.run_sync(ask, self._control, "route", arguments)
            except HostError as error:
                if error.call is not None:  # Not the daemon's refusal: nobody answered.
                    raise SoakFailed(f"route: {error}") from error

    # What is left

    async def all_released(self) -> None:
        """Without guests. Raises SoakFailed with what is held for longer than ``RELEASE_SECONDS``."""
        with trio.move_on_after(RELEASE_SECONDS):
            while self.left:
                await trio.sleep(0.05)
            self.host.tidy()
            return
        left = ", ".join(f"{count} {what}" for what, count in self.left.items())
        raise SoakFailed(f"left behind, {RELEASE_SECONDS:g} s after the last guest: {left}")

    @property
    def left(self) -> dict[str, int]:
        host = self.host
        counts = {
            "mapped grants": host.memory.mapped(),
            "zombies": len(host.memory.zombies),
            "pages granted to guests": host.memory.backend.granted(),
            "dma-bufs": len(host.memory.dmabufs),
            "event channels": len(host.channels.ports),
            "framebuffers": self.framebuffers,
        }
        return {what: count for what, count in counts.items() if count}

    @property
    def framebuffers(self) -> int:
        """Outputs that are lit for nobody are switched off after some seconds."""
        return sum(device.framebuffers for device in self.host.devices)


@asynccontextmanager
async def world(seed: str, folder: Path) -> AsyncGenerator[World, None]:
    """The daemon runs in this loop; its control socket is in ``folder``."""
    control = folder / "control"
    config = Config(
        be_alloc=BackendAllocation(per_domain=4, total=16),
        control_socket=str(control),
        output={"DP-1": OutputSettings(mode="640x480", layer=LAYERS)},
    )
    devices = [_card(path, overlays) for overlays, path in enumerate(CARDS)]
    async with (
        SimHost(devices, SimKernel(gntdev_dmabuf=True)) as host,
        trio.open_nursery() as nursery,
    ):
        service = Service(config, host)
        await nursery.start(service.run)
        async with trio.open_nursery() as operator:
            await operator.start(serve_control, control, service.outputs, service.frontends)
            yield World(host, str(control), seed)
            operator.cancel_scope.cancel()
        service.stop()
