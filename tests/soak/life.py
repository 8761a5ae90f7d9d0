# SPDX-License-Identifier: GPL-2.0-or-later
"""One domain, from its creation to its end, at random. Its frontend is a good one: nothing of it may fail."""

from __future__ import annotations

import errno
import random

import trio

from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import Guest, GuestError, GuestFramebuffer
from xendisplback.sim.guest_channel import Display
from xendisplback.sim.toolstack import Toolstack

SIZES = ((320, 240), (640, 480))
FORMATS = ("XR24", "XR24", "XR24", "RG16", "YUYV")
MOST_FLIPS = 60
"""In a row."""
LIFE_SECONDS = (0.05, 12.0)
EXPECTED = {errno.EIO, errno.EBUSY, errno.ENOSPC}
"""Unplugged; the output is another guest's; over the budget of be-alloc=1. Anything else is a failure."""


class SoakFailed(Exception):
    """What must not happen, however long it runs."""


class Life:
    """:meth:`live` once. Every latency goes to ``latencies``, in seconds."""

    def __init__(
        self, toolstack: Toolstack, name: str, choose: random.Random, latencies: list[float]
    ) -> None:
        self.name = name
        self._toolstack = toolstack
        self._choose = choose
        self._latencies = latencies

    async def live(self, outputs: list[str], ending: trio.Event) -> None:
        """At the latest until ``ending``. Raises SoakFailed, ToolstackTimeout."""
        choose = self._choose
        chosen = choose.sample(outputs, choose.choice((1, 1, 1, 2)))
        size = "x".join(map(str, choose.choice(SIZES)))
        be_alloc = choose.random() < 0.2
        domain = await self._toolstack.create(
            [(output, size) for output in chosen], name=self.name, be_alloc=be_alloc
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, domain)
            with trio.move_on_after(choose.uniform(*LIFE_SECONDS)):
                await ending.wait()
            # In the middle of whatever they do.
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await self._end(domain)

    async def _end(self, domain: Domain) -> None:
        match self._choose.randrange(3):
            case 0:
                domain.die()
                # Sooner or later its nodes are removed.
                await trio.sleep(self._choose.random())
                await self._toolstack.destroy(domain)
            case 1:
                await self._toolstack.shutdown(domain)
            case _:
                await self._toolstack.destroy(domain)

    async def _run(self, domain: Domain) -> None:
        """Task: the guest's programs, until cancelled."""
        guest = domain.guest
        while True:
            await guest.connected()
            try:
                await self._use(guest)
            except GuestError as error:
                if error.errno not in EXPECTED and domain.alive:
                    raise SoakFailed(f"{self.name}: {error}") from error
                await trio.sleep(0.05)

    async def _use(self, guest: Guest) -> None:
        """Until the driver is unloaded. Raises GuestError."""
        for display in guest.displays:
            await self._play(guest, display)
        while True:
            display = self._choose.choice(guest.displays)
            match self._choose.randrange(24):
                case 0:
                    await display.disable()
                case 1:
                    await trio.sleep(self._choose.random())
                case 2:
                    await guest.unload()
                    await guest.load()
                    return
                case _:
                    await self._play(guest, display)

    async def _play(self, guest: Guest, display: Display) -> None:
        """A mode, then flips between two framebuffers. Raises GuestError."""
        size, format = self._choose.choice(SIZES), self._choose.choice(FORMATS)
        frames: list[GuestFramebuffer] = []
        for _ in range(2):
            frames.append(await guest.create_framebuffer(*size, format))
            frames[-1].fill(self._choose.randrange(1 << 24))
        await self._enable(display, frames[0])
        for _ in range(self._choose.randrange(MOST_FLIPS)):
            frames.reverse()
            times = await display.flip(frames[0])
            self._latencies.append(times.done - times.sent)
        if display.skipped_events:
            raise SoakFailed(f"{self.name}: a flip event with a wrong number")
        for frame in frames:
            await guest.destroy_framebuffer(frame)

    async def _enable(self, display: Display, frame: GuestFramebuffer) -> None:
        """Dark, where another guest has the output: flips are answered all the same."""
        try:
            await display.enable(frame)
        except GuestError as error:
            if error.errno != errno.EBUSY:
                raise
            await display.disable()
