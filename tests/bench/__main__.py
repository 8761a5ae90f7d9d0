# SPDX-License-Identifier: GPL-2.0-or-later
"""``make bench``: one table; counts, which every machine reproduces, before times.

Values are medians with the lowest and the highest of all repetitions. Exits with 1 if a bar is missed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import trio

from tests.bench.buffers import BufferFigures, measure_buffers
from tests.bench.copies import measure_copies
from tests.bench.flips import FlipFigures, measure_flips
from tests.bench.flips_in_c import FlipsInC, measure_flips_in_c
from tests.bench.latency import Delay, Latency, measure_latency
from tests.bench.spread import Spread
from tests.bench.start import Start, measure_start
from tests.bench.table import Row, print_rows
from tests.flip.programs import instructions_per_flip

CONNECTORS = (1, 4, 16, 64)
CALLS_BAR = 8.0
COPY_CALLS_BAR = 10.0
INSTRUCTIONS_BAR = 1700.0
READY_BAR = 0.5
INIT_WAIT_BAR = 1.0
RESIDENT_BAR = 31.0
BUFFERS = 10_000
IN_C = 1_000_000
STARTS = 5


def main() -> int:
    flips = [trio.run(measure_flips, count) for count in CONNECTORS]
    copied = trio.run(lambda: measure_flips(1, copied=True))
    buffers = trio.run(measure_buffers, BUFFERS)
    starts = [trio.run(measure_start, 1) for _ in range(STARTS)]
    crowd = [trio.run(measure_start, CONNECTORS[-1]) for _ in range(STARTS)]
    with tempfile.TemporaryDirectory() as folder:
        in_c = measure_flips_in_c(Path(folder), IN_C)
    counts = _count_rows(flips, copied, buffers, in_c)
    print_rows("Counts", counts)
    times = [*_start_rows(starts, crowd), *_flip_rows(flips, copied, buffers, in_c)]
    print_rows("Times", times)
    print_rows("Latency on the simulator, microseconds", _latency_rows(trio.run(measure_latency)))
    print_rows("Copies of 1920x1080 to XRGB8888, cold", _copy_rows())
    return int(any(row.kept is False for row in (*counts, *times)))


def _count_rows(
    flips: list[FlipFigures], copied: FlipFigures, buffers: BufferFigures, in_c: FlipsInC
) -> list[Row]:
    rows = [
        Row.at_most(
            f"system calls per flip, {_guests(f)}, without a copy", f.counts.calls, CALLS_BAR
        )
        for f in flips
    ]
    rows.append(
        Row.at_most("system calls per flip, 1 guest, copied", copied.counts.calls, COPY_CALLS_BAR)
    )
    rows += [
        Row.at_most(
            f"of them by the thread of the daemon's Python, {_guests(f)}",
            Spread.of([f.counts.loop]),
            0.1,
            3,
        )
        for f in flips
    ]
    names = ", ".join(
        f"{name} {flips[0].counts.per_flip(name):.1f}" for name in ("poll", "read", "write")
    )
    rows.append(Row("with 1 guest, without a copy (write: notify, commit, unmask)", names))
    with tempfile.TemporaryDirectory() as folder:
        rows += [
            Row.at_most(
                f"instructions per flip, {_guests(f)}, in C (callgrind)",
                Spread.of([instructions_per_flip(Path(folder), f.connectors)]),
                INSTRUCTIONS_BAR,
                0,
            )
            for f in flips
        ]
    rows.append(
        Row(
            f"KiB more resident after {IN_C} flips in C than after {IN_C // 100}",
            f"{in_c.growth:.0f}",
            "<= 256",
            in_c.growth <= 256,
        )
    )
    left = ", ".join(f"{number} {name}" for name, number in buffers.left.items() if number > 0)
    gone = not any(number for name, number in buffers.left.items() if name != "objects")
    rows.append(
        Row(f"left of {BUFFERS} buffers, created and destroyed", left or "nothing", "0", gone)
    )
    return rows


def _guests(figures: FlipFigures) -> str:
    return "1 guest" if figures.connectors == 1 else f"{figures.connectors} guests"


def _start_rows(starts: list[Start], crowd: list[Start]) -> list[Row]:
    pauses = sorted(pause for start in crowd for pause in start.pauses)
    return [
        Row.at_most("s from exec to READY", Spread.of([s.ready for s in starts]), READY_BAR, 3),
        Row.at_most(
            "s from exec to InitWait, 1 guest waits",
            Spread.of([s.init_wait for s in starts]),
            INIT_WAIT_BAR,
            3,
        ),
        Row.at_most(
            f"s from exec to InitWait of the last of {crowd[0].guests} guests",
            Spread.of([s.init_wait for s in crowd]),
            INIT_WAIT_BAR,
            3,
        ),
        Row.at_most("MiB resident after it", Spread.of([s.resident for s in starts]), RESIDENT_BAR),
        Row.of("MiB of it not of files", Spread.of([s.anonymous for s in starts]), 1),
        Row.of(
            f"MiB resident with {crowd[0].guests} guests at InitWait",
            Spread.of([s.resident for s in crowd]),
            1,
        ),
        Row.of(
            "ms of the collector's pass at READY, the last that walks all",
            Spread.of([max(s.pauses) for s in crowd]),
        ),
        Row.of(
            f"ms of each other pass, {crowd[0].guests} guests",
            Spread.of(pauses[: -len(crowd)]),
        ),
    ]


def _flip_rows(
    flips: list[FlipFigures], copied: FlipFigures, buffers: BufferFigures, in_c: FlipsInC
) -> list[Row]:
    rows: list[Row] = []
    for f in (*flips, copied):
        way = "copied" if f.copied else "without a copy"
        rows.append(Row.of(f"ms of CPU per flip, {_guests(f)}, {way}", f.cpu, 3))
    rows += [Row.of(f"flips per second and connector, {_guests(f)}", f.rate, 1) for f in flips]
    rows += [
        Row(
            f"s until {_guests(f)} that waited are at InitWait, and Connected",
            f"{f.init_wait:.3f}, {f.connected:.3f}",
        )
        for f in flips
    ]
    rows.append(
        Row(f"µs of CPU per flip, in C, with the test's guest ({IN_C} flips)", f"{in_c.cpu:.2f}")
    )
    rows.append(Row.of("ms to create, attach, detach, destroy a buffer", buffers.each))
    rows.append(Row(f"KiB more resident after {BUFFERS} buffers", f"{buffers.growth:.0f}"))
    return rows


def _latency_rows(latencies: list[Latency]) -> list[Row]:
    def text(delay: Delay) -> str:
        return f"{delay.median:.0f} / {delay.p99:.0f} / {delay.longest:.0f}"

    rows: list[Row] = []
    for latency in latencies:
        for stage, delay in (
            ("doorbell to response", latency.answered),
            ("doorbell to commit", latency.committed),
            ("vblank to event", latency.event),
        ):
            rows.append(Row(f"{stage}, {latency.load}: p50 / p99 / max", text(delay)))
    return rows


def _copy_rows() -> list[Row]:
    return [
        Row(
            f"ms, {speed.name}",
            f"{speed.milliseconds:.2f} ({speed.low:.2f} to {speed.high:.2f})",
            f"{speed.share:.0%}",
        )
        for speed in measure_copies()
    ]


if __name__ == "__main__":
    sys.exit(main())
