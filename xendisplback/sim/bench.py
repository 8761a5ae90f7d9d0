# SPDX-License-Identifier: GPL-2.0-or-later
"""``make bench``: what a flip, a start and a copy cost, measured on the simulated host.

System calls and CPU time are those of the daemon's threads alone: the simulator's are known by their ids. All
share one interpreter; the futexes of its lock, for which a daemon in a process of its own hardly waits, are shown
apart and not counted against the bar. Exits with 1 if a bar is missed or could not be measured.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio

from xendisplback.errors import HostError
from xendisplback.sim.copy_bench import measure_copies
from xendisplback.sim.daemon_thread import DaemonThread
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest import Guest
from xendisplback.sim.host import SimHost
from xendisplback.sim.thread_figures import (
    INTERPRETER_LOCK,
    Traced,
    all_threads,
    count_system_calls,
    cpu_seconds,
    resident_mib,
)

CALLS_BAR = 14.0
INIT_WAIT_BAR = 1.0
SIZE = (800, 600)
SETTLE_SECONDS = 1.0
WINDOW_SECONDS = 3.0
PER_GUEST = 4


@dataclass(frozen=True, slots=True)
class FlipFigures:
    connectors: int
    rate: float
    """Flips per second and connector."""
    cpu: float
    """Milliseconds of the daemon's threads per flip."""
    resident: float
    """MiB: daemon, simulator and guests."""
    traced: Traced | None
    init_wait: float
    """Seconds from the daemon's start to InitWait."""

    def calls(self, name: str) -> float:
        """System calls of one kind per flip."""
        if self.traced is None or not self.traced.progress:
            return float("nan")
        return self.traced.calls[name] / self.traced.progress

    def all_calls(self) -> float:
        """Per flip, but for the interpreter's lock."""
        names = () if self.traced is None else self.traced.calls
        return sum(self.calls(name) for name in names if name != INTERPRETER_LOCK) or float("nan")


async def _flip_for_ever(guest: Guest, index: int, *, task_status: trio.TaskStatus[None]) -> None:
    buffers = [await guest.create_framebuffer(*SIZE) for _ in range(2)]
    for fb, colour in zip(buffers, (0x204060, 0x806040), strict=True):
        fb.fill(colour)
    display = guest.displays[index]
    await display.enable(buffers[0])
    task_status.started()
    while True:
        buffers.reverse()
        await display.flip(buffers[0])


async def _measure_flips(count: int) -> FlipFigures:
    names = [f"HDMI-A-{number}" for number in range(1, count + 1)]
    size = f"{SIZE[0]}x{SIZE[1]}"
    async with SimHost([DisplayDevice(names, modes=[size])]) as host:
        ours = {threading.get_native_id(), host.server.thread_id, host.device.thread_id}
        domains = [
            await host.toolstack.create(
                [(name, size) for name in names[start : start + PER_GUEST]], start=False, wait=False
            )
            for start in range(0, count, PER_GUEST)
        ]
        daemon = DaemonThread(host)
        started = time.monotonic()
        await trio.to_thread.run_sync(daemon.start)
        init_wait = time.monotonic() - started

        def flips() -> int:
            return sum(host.device.flips(name) for name in names)

        try:
            async with trio.open_nursery() as nursery:
                for domain in domains:
                    domain.guest.start()
                    await domain.guest.connected()
                    for index in range(len(domain.guest.displays)):
                        await nursery.start(_flip_for_ever, domain.guest, index)
                await trio.sleep(SETTLE_SECONDS)
                threads = all_threads() - ours
                before, cpu, moment = flips(), cpu_seconds(threads), time.monotonic()
                await trio.sleep(WINDOW_SECONDS)
                done, elapsed = flips() - before, time.monotonic() - moment
                cpu = cpu_seconds(threads) - cpu
                traced = await _trace(threads, flips)
                resident = resident_mib()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(daemon.stop)
    return FlipFigures(count, done / elapsed / count, 1e3 * cpu / done, resident, traced, init_wait)


async def _trace(threads: set[int], flips: Callable[[], int]) -> Traced | None:
    try:
        return await trio.to_thread.run_sync(count_system_calls, threads, WINDOW_SECONDS, flips)
    except HostError as error:
        print(f"system calls not counted: {error}", file=sys.stderr)
        return None


def _import_seconds() -> float:
    """A process that does no more than ``xendisplback run`` before its first own line."""
    code = "import xendisplback.cli, xendisplback.daemon.main, xendisplback.native"
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.monotonic() - started


def _print_flips(figures: Sequence[FlipFigures]) -> bool:
    """Whether the bar is kept."""
    print("Flips, 800x600 XR24, copy mode, at 60 Hz (daemon's threads alone; RSS of all)")
    print(
        "  connectors  flips/s each  system calls/flip (+ interpreter lock)  CPU ms/flip  RSS MiB"
    )
    for f in figures:
        print(
            f"  {f.connectors:10}  {f.rate:12.1f}  {f.all_calls():17.1f}"
            f" ({f.calls(INTERPRETER_LOCK):+18.1f})  {f.cpu:11.2f}  {f.resident:7.0f}"
        )
    one = figures[0]
    if one.traced is not None:
        names = ", ".join(
            f"{name} {one.calls(name):.1f}" for name, _ in one.traced.calls.most_common(7)
        )
        print(f"  with 1 connector: {names}")
    kept = one.all_calls() <= CALLS_BAR
    verdict = "NOT MEASURED" if one.traced is None else _verdict(kept)
    print(f"  bar: at most {CALLS_BAR:g} system calls a flip with 1 connector: {verdict}")
    return kept


def _print_start(init_wait: float) -> bool:
    """Whether the bar is kept."""
    imports = _import_seconds()
    total = imports + init_wait
    kept = total < INIT_WAIT_BAR
    print(
        f"Start to InitWait: {total:.2f} s (interpreter and imports {imports:.2f},"
        f" then {init_wait:.3f}); bar: under {INIT_WAIT_BAR:g} s: {_verdict(kept)}"
    )
    return kept


def _print_copies() -> None:
    print("Copies, 1920x1080 to XRGB8888, cold (aim: XRGB8888 at 80 % of memcpy or more)")
    for speed in measure_copies():
        print(f"  {speed.name:9} {speed.milliseconds:6.2f} ms  {speed.share:6.0%} of memcpy")


def _verdict(kept: bool) -> str:
    return "kept" if kept else "MISSED"


def main() -> int:
    figures = [trio.run(_measure_flips, count) for count in (1, 4, 16)]
    kept = [_print_flips(figures), _print_start(figures[0].init_wait)]
    _print_copies()
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
