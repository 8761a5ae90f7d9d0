# SPDX-License-Identifier: GPL-2.0-or-later
"""Buffers created, attached, detached and destroyed again: how long each takes, and that nothing stays."""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass

import trio

from tests.bench.spread import Spread
from tests.bench.threads import resident_mib
from xendisplback.config import BudgetSettings, Config
from xendisplback.sim.daemon_thread import DaemonThread
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel

WARM_UP = 500
ROUNDS = 5
SIZE = (64, 64)


@dataclass(frozen=True, slots=True)
class BufferFigures:
    buffers: int
    each: Spread
    """Milliseconds for one, with simulator and guest, by ROUNDS parts of all."""
    growth: float
    """KiB more resident after all, with simulator and guest."""
    left: dict[str, int]
    """What is more than before the first one."""


async def measure_buffers(count: int) -> BufferFigures:
    """Without a copy: each is exported, imported and made a framebuffer, then all of it undone."""
    async with SimHost(kernel=SimKernel(gntdev_dmabuf=True)) as host:
        # What a buffer costs, not how many a guest is allowed.
        daemon = DaemonThread(host, Config(budget=BudgetSettings(requests_per_second=1e6)))
        await trio.to_thread.run_sync(daemon.start)
        try:
            domain = await host.toolstack.create([("HDMI-A-1", "800x600")])
            guest = domain.guest
            await guest.connected()

            async def rounds(count: int) -> float:
                """Milliseconds each."""
                started = time.monotonic()
                for _ in range(count):
                    await guest.destroy_framebuffer(await guest.create_framebuffer(*SIZE))
                return 1e3 * (time.monotonic() - started) / count

            await rounds(WARM_UP)
            before, resident = _there(host), _resident_kib()
            each = [await rounds(count // ROUNDS) for _ in range(ROUNDS)]
            growth = _resident_kib() - resident
            left = {name: number - before[name] for name, number in _there(host).items()}
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(daemon.stop)
    return BufferFigures(count, Spread.of(each), growth, left)


def _there(host: SimHost) -> dict[str, int]:
    return {
        "grants mapped": host.memory.mapped(),
        "framebuffers": host.device.framebuffers - _backgrounds(host),
        "files": len(os.listdir("/proc/self/fd")),
        "objects": _objects(),
    }


def _backgrounds(host: SimHost) -> int:
    """Of outputs that are lit for nobody, for some seconds."""
    screens = [host.device.screen(name) for name in ("HDMI-A-1", "HDMI-A-2")]
    return len([screen for screen in screens if screen is not None and not any(screen.pixels)])


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())


def _resident_kib() -> float:
    return 1024 * resident_mib()
