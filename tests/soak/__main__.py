# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.soak HOURS [--seed SEED] [--output DIR]``: the daemon on the simulated host, at random.

Rounds of half a minute; after each all guests are gone, and nothing may be left of them. Leaves ``soak.csv``,
``soak.png`` and the daemon's log, ``soak.log``, in DIR (soak-out). Exit code 0: all was well; 1, with the seed:
- something was left after a round: mapped grants, event channels, dma-bufs, framebuffers, descriptors, threads
- a guest's flip had no event, or its request no answer, within 3 s, or was refused without a reason
- a toolstack waited 10 s for the daemon
- the daemon logged a traceback
- there is more anonymous memory after a round than after the second one and ``GROWTH_MIB``
"""

from __future__ import annotations

import argparse
import logging
import secrets
import sys
import tempfile
from pathlib import Path

import trio

from tests.log_faults import LogFaults
from tests.soak.chart import Panel, draw
from tests.soak.life import SoakFailed
from tests.soak.samples import Sample, settle, write_csv
from tests.soak.world import World, world
from xendisplback.errors import leaves
from xendisplback.sim.toolstack import ToolstackTimeout

ROUND_SECONDS = 30.0
WARM_ROUNDS = 2
"""Before memory, descriptors and threads are compared."""
GROWTH_MIB = 12.0
MOST_SAMPLES = 2000


class Soak:
    def __init__(self, one: World, seconds: float) -> None:
        self.samples: list[Sample] = []
        self._world = one
        self._seconds = seconds
        self._start = trio.current_time()
        self._before = self._start
        self._faults = LogFaults()
        self._warm: Sample | None = None
        """After the last of ``WARM_ROUNDS``."""

    @property
    def elapsed(self) -> float:
        return trio.current_time() - self._start

    async def run(self) -> None:
        """Raises SoakFailed, ToolstackTimeout."""
        self._faults.start()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sample_on)
                rounds = 0
                # Two more than are warm, however short it is.
                while self.elapsed < self._seconds or rounds < WARM_ROUNDS + 1:
                    rounds += 1
                    await self._world.play(self._round_seconds)
                    await self._world.all_released()
                    self._check(rounds)
                nursery.cancel_scope.cancel()
        finally:
            self._faults.stop()

    @property
    def _round_seconds(self) -> float:
        return min(ROUND_SECONDS, self._seconds / (WARM_ROUNDS + 1))

    async def _sample_on(self) -> None:
        """Task."""
        while True:
            await trio.sleep(max(0.5, self._seconds / MOST_SAMPLES))
            self._sample()

    def _sample(self) -> Sample:
        now = trio.current_time()
        sample = Sample.take(self._world, now - self._start, now - self._before)
        self._before = now
        self.samples.append(sample)
        return sample

    def _check(self, rounds: int) -> None:
        """Raises SoakFailed."""
        if self._faults.texts:
            raise SoakFailed(f"the daemon logged a fault of its own:\n{self._faults.texts[0]}")
        settle()
        sample = self._sample()
        print(
            f"{sample.seconds:8.0f} s, round {rounds}: {self._world.lives} guests so far;"
            f" {sample.anonymous:.1f} MiB, {sample.fds} fds, {sample.threads} threads",
            flush=True,
        )
        if rounds == WARM_ROUNDS:
            self._warm = sample
        elif self._warm is not None:
            self._compare(sample, self._warm)

    def _compare(self, sample: Sample, warm: Sample) -> None:
        growth = sample.anonymous - warm.anonymous
        if growth > GROWTH_MIB:
            raise SoakFailed(f"{growth:.1f} MiB more than after {WARM_ROUNDS} rounds")
        if sample.fds > warm.fds:
            raise SoakFailed(f"{sample.fds - warm.fds} file descriptors are left")
        if sample.threads > warm.threads:
            raise SoakFailed(f"{sample.threads - warm.threads} threads are left")


async def soak(seconds: float, seed: str, output: Path) -> list[Sample]:
    """Raises SoakFailed and ToolstackTimeout, in groups; files are in ``output`` in any case."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        async with world(seed, Path(folder)) as one:
            run = Soak(one, seconds)
            try:
                await run.run()
            finally:
                write_csv(output / "soak.csv", run.samples)
                _draw(output / "soak.png", run.samples)
            return run.samples


def _draw(path: Path, samples: list[Sample]) -> None:
    def line(name: str) -> tuple[str, list[float]]:
        return name, [getattr(sample, name) for sample in samples]

    panels = [
        Panel("memory mib", [line("resident"), line("anonymous")]),
        Panel("guest pages mapped", [line("grants")]),
        Panel("file descriptors", [line("fds")]),
        Panel("counts", [line("threads"), line("ports"), line("framebuffers")]),
        Panel("guests", [line("guests")]),
        Panel("flips per second", [line("flips")]),
        Panel("flip latency ms: median", [line("latency")]),
        Panel("flip latency ms: longest", [line("worst")]),
    ]
    draw(path, [sample.seconds for sample in samples], panels)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("hours", type=float)
    parser.add_argument("--seed", default="")
    parser.add_argument("--output", type=Path, default=Path("soak-out"))
    arguments = parser.parse_args()
    seed: str = arguments.seed or secrets.token_hex(4)
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    _log_to(output / "soak.log")
    print(f"seed {seed}", flush=True)
    code = 1
    samples: list[Sample] = []
    try:
        samples = trio.run(soak, 3600 * arguments.hours, seed, output)
        code = 0
    except* (SoakFailed, ToolstackTimeout) as group:
        for error in leaves(group):
            print(f"FAILED with SEED={seed}: {error}", file=sys.stderr)
    except* Exception:
        print(f"FAILED with SEED={seed}", file=sys.stderr)
        raise
    if samples:
        flips = [sample for sample in samples if sample.latency]
        print(
            f"nothing left, nobody waited; median latency at most"
            f" {max(sample.latency for sample in flips):.1f} ms, the longest"
            f" {max(sample.worst for sample in flips):.1f} ms; {output}/soak.png, soak.csv"
        )
    return code


def _log_to(path: Path) -> None:
    handler = logging.FileHandler(path, mode="w")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger = logging.getLogger("xendisplback")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
