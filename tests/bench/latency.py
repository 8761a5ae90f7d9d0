# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest's flips wait for, stage by stage, while others make work; from the daemon's own trace.

The simulator's part of each call needs the interpreter, which all its threads share: the figures are an upper
bound of the daemon's own. The real ones come from the rig (scenario flips_beside_others_work).
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import trio

from xendisplback.scanout.flips import FlipTimes
from xendisplback.sim.controller import Controller
from xendisplback.sim.daemon_thread import DaemonThread
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest import Guest
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel

SECONDS = 3.0
LARGE = (3840, 2160)
"""8100 pages"""
SWITCH_SECONDS = 1e-4
"""How long a thread of the simulator keeps the interpreter from another one."""


@dataclass(frozen=True, slots=True)
class Delay:
    """Microseconds."""

    median: float
    p99: float
    longest: float

    @classmethod
    def of(cls, nanoseconds: Sequence[int]) -> Delay:
        ordered = sorted(nanoseconds)
        at = [ordered[len(ordered) * share // 100] for share in (50, 99)]
        return cls(at[0] / 1e3, at[1] / 1e3, ordered[-1] / 1e3)


@dataclass(frozen=True, slots=True)
class Latency:
    load: str
    flips: int
    answered: Delay
    """From the doorbell to the response."""
    committed: Delay
    """From the doorbell to the commit."""
    event: Delay
    """From the vblank to the flip event's delivery."""


def _summary(load: str, flips: Sequence[FlipTimes]) -> Latency:
    return Latency(
        load,
        len(flips),
        Delay.of([flip.answered - flip.doorbell for flip in flips]),
        Delay.of([flip.committed - flip.doorbell for flip in flips]),
        Delay.of([flip.event - flip.vblank for flip in flips]),
    )


async def flip_for_ever(guest: Guest, size: tuple[int, int]) -> None:
    buffers = [await guest.create_framebuffer(*size) for _ in range(2)]
    await guest.displays[0].enable(buffers[0])
    while True:
        buffers.reverse()
        await guest.displays[0].flip(buffers[0])


async def _idle(guest: Guest) -> None:
    await trio.sleep_forever()


async def _create_and_destroy(guest: Guest) -> None:
    while True:
        await guest.destroy_framebuffer(await guest.create_framebuffer(*LARGE))


async def _copied(guest: Guest) -> None:
    await flip_for_ever(guest, (1920, 1080))


LOADS = {
    "alone": _idle,
    "beside buffers of 8100 pages, created and destroyed": _create_and_destroy,
    "beside another guest's copies of 1920x1080": _copied,
}


async def measure_latency() -> list[Latency]:
    """A guest's flips without a copy at 800x600."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        return [await _measure(load, work) for load, work in LOADS.items()]
    finally:
        sys.setswitchinterval(before)


async def _measure(load: str, work: Callable[[Guest], Awaitable[None]]) -> Latency:
    devices = [
        DisplayDevice(["HDMI-A-1"], ["800x600"]),
        DisplayDevice(["HDMI-A-2"], ["1920x1080"], controller=Controller(can_import=False)),
    ]
    async with SimHost(devices, SimKernel(gntdev_dmabuf=True)) as host:
        daemon = DaemonThread(host)
        await trio.to_thread.run_sync(daemon.start)
        try:
            async with trio.open_nursery() as nursery:
                domain = await host.toolstack.create([("HDMI-A-1", "800x600")])
                other = await host.toolstack.create([("HDMI-A-2", "1920x1080")])
                await domain.guest.connected()
                await other.guest.connected()
                nursery.start_soon(flip_for_ever, domain.guest, (800, 600))
                nursery.start_soon(work, other.guest)
                await trio.sleep(1)
                source = daemon.service.outputs.sources[0]
                assert source.unique_id == "HDMI-A-1"
                trace = source.scanout.trace(round(100 * SECONDS))
                await trio.sleep(SECONDS)
                flips = trace.close()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(daemon.stop)
    return _summary(load, flips)
