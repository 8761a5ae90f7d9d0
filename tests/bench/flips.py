# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flip costs the daemon with few and with many guests, each with one connector and without a copy.

System calls and CPU time are those of the daemon's threads alone: the simulator's are known by their ids.
All share one interpreter, which what stands for ioctls here needs and an ioctl does not: so futexes are
counted apart, and CPU times are an upper bound.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from tests.bench.latency import flip_for_ever
from tests.bench.spread import Spread
from tests.bench.threads import (
    INTERPRETER_LOCK,
    Traced,
    all_threads,
    count_system_calls,
    cpu_seconds,
    resident_mib,
)
from xendisplback.sim.controller import Controller
from xendisplback.sim.daemon_thread import DaemonThread
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel

SIZE = (640, 480)
PER_CARD = 32
"""CRTCs: as many as the kernel's masks have bits."""
SETTLE_SECONDS = 1.0
WINDOW_SECONDS = 0.5
WINDOWS = 5


@dataclass(frozen=True, slots=True)
class Flipping:
    """A host on which one guest for each connector flips as fast as it may."""

    host: SimHost
    threads: Set[int]
    """The daemon's."""
    loop: int
    """That of its Python; of the others only those of C flip."""
    init_wait: float
    """Seconds from the daemon's start until every guest that waited was at InitWait."""
    connected: float
    """And until each was Connected."""

    def flips(self, began: float, ended: float) -> int:
        """How many were shown between two moments of CLOCK_MONOTONIC, of the last 10000 of each card."""
        shown = 0
        for device in self.host.devices:
            with device.lock:
                shown += sum(began <= record.shown_at <= ended for record in device.log)
        return shown

    def all_flips(self) -> int:
        return sum(
            device.flips(connector.name)
            for device in self.host.devices
            for connector in device.objects.connectors.values()
        )


@asynccontextmanager
async def flipping(connectors: int, *, copied: bool) -> AsyncGenerator[Flipping]:
    names = [f"HDMI-A-{number}" for number in range(1, connectors + 1)]
    devices = [
        DisplayDevice(
            names[first : first + PER_CARD],
            [f"{SIZE[0]}x{SIZE[1]}"],
            path=f"/dev/dri/card{first // PER_CARD}",
            controller=Controller(can_import=not copied),
        )
        for first in range(0, connectors, PER_CARD)
    ]
    async with SimHost(devices, SimKernel(gntdev_dmabuf=True)) as host:
        others = {threading.get_native_id(), host.server.thread_id}
        domains = [await _waiting(host, name) for name in names]
        daemon = DaemonThread(host)
        started = time.monotonic()
        await trio.to_thread.run_sync(daemon.start)
        init_wait = time.monotonic() - started
        try:
            for domain in domains:
                await domain.guest.connected()
            connected = time.monotonic() - started
            others |= {device.thread_id for device in devices}
            async with trio.open_nursery() as nursery:
                for domain in domains:
                    nursery.start_soon(flip_for_ever, domain.guest, SIZE)
                await _all_flip(host, names)
                await trio.sleep(SETTLE_SECONDS)
                threads = all_threads() - others
                yield Flipping(host, threads, daemon.thread_id, init_wait, connected)
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(daemon.stop)


async def _waiting(host: SimHost, name: str) -> Domain:
    return await host.toolstack.create([(name, f"{SIZE[0]}x{SIZE[1]}")], wait=False)


async def _all_flip(host: SimHost, names: Sequence[str]) -> None:
    for device in host.devices:
        for connector in device.objects.connectors.values():
            while not device.flips(connector.name):
                await trio.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Counts:
    """System calls per flip of the daemon's threads, but for the interpreter's lock."""

    calls: Spread
    """But for futexes. Of several traces."""
    futexes: float
    """Waits for locks. The daemon's are its own alone; with several connectors here, most are the simulator's."""
    loop: float
    """Those of the thread that runs the daemon's Python."""
    names: Counter[str]
    flips: int
    """In all traces together, as ``names``."""

    def per_flip(self, name: str) -> float:
        return self.names[name] / self.flips


async def count_calls(scene: Flipping, traces: int, seconds: float) -> Counts:
    """Raises HostError where strace can't do it."""
    seen = [await _trace(scene, scene.threads, seconds) for _ in range(traces)]
    loop = await _trace(scene, {scene.loop}, seconds)
    flips = sum(traced.progress for traced in seen)
    names: Counter[str] = Counter()
    for traced in seen:
        names.update(traced.calls)
    return Counts(
        Spread.of([_calls(traced) / traced.progress for traced in seen]),
        sum(traced.calls["futex"] for traced in seen) / flips,
        _calls(loop) / loop.progress,
        names,
        flips,
    )


async def _trace(scene: Flipping, threads: Set[int], seconds: float) -> Traced:
    return await trio.to_thread.run_sync(count_system_calls, threads, seconds, scene.flips)


def _calls(traced: Traced) -> int:
    return traced.calls.total() - traced.calls[INTERPRETER_LOCK] - traced.calls["futex"]


@dataclass(frozen=True, slots=True)
class FlipFigures:
    connectors: int
    copied: bool
    init_wait: float
    connected: float
    rate: Spread
    """Flips per second and connector."""
    cpu: Spread
    """Milliseconds of the daemon's threads per flip."""
    growth: float
    """KiB more resident after the last flip than before the first one, with simulator and guests."""
    flips: int
    """Between these two moments."""
    counts: Counts


async def measure_flips(connectors: int, *, copied: bool = False) -> FlipFigures:
    """Raises HostError where system calls can't be counted."""
    async with flipping(connectors, copied=copied) as scene:
        before, resident = scene.all_flips(), resident_mib()
        windows = [await _window(scene) for _ in range(WINDOWS)]
        counts = await count_calls(scene, 3, WINDOW_SECONDS)
        return FlipFigures(
            connectors,
            copied,
            scene.init_wait,
            scene.connected,
            Spread.of([flips / seconds / connectors for flips, seconds, _ in windows]),
            Spread.of([1e3 * cpu / flips for flips, _, cpu in windows]),
            1024 * (resident_mib() - resident),
            scene.all_flips() - before,
            counts,
        )


async def _window(scene: Flipping) -> tuple[int, float, float]:
    """Flips, seconds, seconds of CPU."""
    began, cpu = time.monotonic(), cpu_seconds(scene.threads)
    await trio.sleep(WINDOW_SECONDS)
    ended, cpu = time.monotonic(), cpu_seconds(scene.threads) - cpu
    return scene.flips(began, ended), ended - began, cpu
