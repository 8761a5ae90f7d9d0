# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon on a simulated host, with a well-behaved guest that flips all the time and others that attack.

What an attack may lead to: its requests are answered or refused, or its frontend is closed. Nothing else:
:meth:`Arena.attack` fails where the other guest is kept waiting or its picture is not its own, where something of
the attacker stays mapped or on screen after its death, and where the daemon itself says that it is at fault.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from unittest.mock import patch

import trio

from tests.frontend.conftest import Machine, run_machine
from tests.hostile.attack import Attack
from tests.hostile.case import Case, play
from tests.hostile.choices import Choices
from tests.hostile.hands import AttackSucceeded
from tests.hostile.sim_hands import SimHands
from tests.log_faults import LogFaults
from xendisplback.config import BackendAllocation, Config
from xendisplback.frontend import lifecycle
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import Guest
from xendisplback.sim.kernel import SimKernel

GOOD, BAD = "HDMI-A-1", ("HDMI-A-2", "HDMI-A-3")
GREEN = 0x00FF00
FLIP_SECONDS = 2.0
"""Within so long the other guest's flips go on. Linux gives each 3 s."""
RELEASE_SECONDS = 5.0
ATTACK_SECONDS = 30.0
"""For all of one, which takes 0.1 s as a rule: a fresh guest has to be served."""


CASE_LINES = 60
"""Of log, that one scripted case may cause."""


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Arena:
    def __init__(self, machine: Machine, bystander: Guest) -> None:
        self._machine = machine
        self._bystander = bystander
        self._log = _Lines()
        self._faults = LogFaults()
        self._faults.start()
        self._logger = logging.getLogger("xendisplback")
        self._level = self._logger.level
        self._logger.addHandler(self._log)
        # As the daemon has it by default.
        self._logger.setLevel(logging.INFO)

    def close(self) -> None:
        self._faults.stop()
        self._logger.removeHandler(self._log)
        self._logger.setLevel(self._level)

    async def attack(self, data: bytes) -> None:
        """One domain's whole life, as ``data`` says. Raises AttackSucceeded."""
        self._log.lines.clear()
        with trio.move_on_after(ATTACK_SECONDS) as scope:
            await self._attack(Choices(data))
        if scope.cancelled_caught:
            last = self._log.lines[-5:]
            raise AttackSucceeded(f"not served, or no end of it, in {ATTACK_SECONDS:g} s: {last}")

    async def _attack(self, choose: Choices) -> None:
        domain = await self._domain(version=1 + choose.below(2))
        try:
            await domain.guest.connected()
            await Attack(domain, choose).run()
            await self._bystander_goes_on()
        finally:
            await self._machine.host.toolstack.destroy(domain)
        await self._all_released(domain)

    async def play(self, item: Case) -> str:
        """One case, in a domain of its own; what was seen. Raises AttackSucceeded."""
        toolstack = self._machine.host.toolstack
        connectors = [(BAD[0], "64x48"), (GOOD, "64x48")]
        domain = await toolstack.create(connectors, name="hostile", start=False)
        hands = SimHands(self._machine.host, domain, self._bystander.memory.domid, GOOD)
        self._log.lines.clear()
        try:
            seen = await play(item, hands)
            await self._bystander_goes_on()
        finally:
            await hands.close()
            await toolstack.destroy(domain)
        await self._all_released(domain)
        if len(self._log.lines) > CASE_LINES:
            raise AttackSucceeded(f"{len(self._log.lines)} lines of log: {self._log.lines[-5:]}")
        if unprintable := [line for line in self._log.lines if not line.isprintable()]:
            raise AttackSucceeded(f"control characters in the log: {unprintable}")
        return seen

    async def _all_released(self, domain: Domain) -> None:
        with trio.move_on_after(RELEASE_SECONDS) as scope:
            await self._machine.released(domain.domid)
        if scope.cancelled_caught:
            raise AttackSucceeded("a dead guest's memory or ports are still held")
        # Or a thousand attacks later no descriptor is left.
        self._machine.host.channels.close_buried()
        for output in BAD:
            if not self._shows(output, 0):
                raise AttackSucceeded(f"a dead guest's picture is still on {output}")
        if self._faults.texts:
            raise AttackSucceeded(self._faults.texts.pop())

    async def _domain(self, version: int) -> Domain:
        connectors = [(output, "64x48") for output in BAD]
        toolstack = self._machine.host.toolstack
        domain = await toolstack.create(connectors, name="hostile", start=False)
        domain.store.write(f"{domain.guest.path}/version", str(version))
        domain.guest.start()
        return domain

    async def _bystander_goes_on(self) -> None:
        display = self._bystander.displays[0]
        before = display.flips
        with trio.move_on_after(FLIP_SECONDS) as scope:
            while display.flips < before + 2:
                await trio.sleep(0.005)
        if scope.cancelled_caught or display.frame_done_timeouts or display.skipped_events:
            raise AttackSucceeded("the other guest was kept waiting")
        if not self._shows(GOOD, GREEN):
            raise AttackSucceeded("the other guest's picture is not its own")

    def _shows(self, output: str, colour: int) -> bool:
        """All of it. A dark screen is black."""
        screen = self._machine.host.device.screen(output)
        pixels = screen.pixels if screen is not None else bytes(4)
        return pixels == colour.to_bytes(4, "little") * (len(pixels) // 4)


async def _flip(guest: Guest) -> None:
    display = guest.displays[0]
    frames = [await guest.create_framebuffer(64, 48, "XR24") for _ in range(2)]
    for frame in frames:
        frame.buffer.pixels[:] = GREEN.to_bytes(4, "little") * (64 * 48)
    await display.enable(frames[0])
    while True:
        await trio.lowlevel.checkpoint()
        frames.reverse()
        with trio.CancelScope(shield=True):
            await display.flip(frames[0])


BE_ALLOC_MIB = 1
"""What the operator allows each domain."""


@asynccontextmanager
async def arena(seconds: float) -> AsyncGenerator[Arena, None]:
    """Fails after ``seconds``, all attacks together."""
    config = Config(be_alloc=BackendAllocation(per_domain=BE_ALLOC_MIB))
    device = DisplayDevice(connectors=[GOOD, *BAD], modes=["1024x768", "64x48"])
    kernel = SimKernel(gntdev_dmabuf=True)
    # The pause is for libxl: without it there are ten times more attacks in a second.
    with patch.object(lifecycle, "DWELL_SECONDS", 0.0):
        async with run_machine([device], config, kernel, seconds=seconds) as machine:
            guest = await machine.guest((GOOD, "64x48"), name="bystander")
            made = Arena(machine, guest)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_flip, guest)
                try:
                    yield made
                finally:
                    made.close()
                nursery.cancel_scope.cancel()
