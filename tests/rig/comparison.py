# SPDX-License-Identifier: GPL-2.0-or-later
"""``python3 -m tests.rig --machine M --compare-with PATH``: what a flip costs us and another backend.

Same run of the same emulated machine, same kind of guest, same card and mode. The backends take turns for each
repetition, so that what else the host does falls on both. With ``--count-instructions`` QEMU's clock advances
by executed instructions (-icount): CPU time is then a count that does not depend on the host, in which caches
and memory cost nothing, however.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from tests.rig.cache import progress
from tests.rig.comparison_backends import Backend, Other, Ours, Program, Way
from tests.rig.comparison_cost import Cost, measure
from tests.rig.controller import controller
from tests.rig.dom0_link import RigError
from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64, GPU, RAMFB
from tests.rig.machines.kind import Images, MachineKind
from tests.rig.machines.x86_64 import X86_64
from tests.rig.picture import pattern
from tests.rig.qemu import Machine
from tests.rig.rig import Rig

REPETITIONS = 3
# Under strace; then there are fewer than without.
TRACED_FLIPS = 100
FLIPS = 300
# With -icount the spread is below 1 %, and emulation is slower.
COUNTED_FLIPS = 150
SIZES = ((800, 600), (1280, 800))
PICTURE = 3
# Nanoseconds are 1 << ICOUNT_SHIFT times the instructions.
ICOUNT_SHIFT = 2
CONTROLLER = "iommu=1 contiguous=1"


@dataclass(frozen=True, slots=True)
class Card:
    """``output`` shows on screen number ``screen``; ``ways`` that its driver allows for guests' own memory."""

    name: str
    output: str
    screen: int
    ways: tuple[Way, ...]


CARDS = {
    ARM64.name: (
        Card("rig-display", "HDMI-A-1", RAMFB, (Way.ZERO_COPY, Way.COPY)),
        Card("virtio-gpu", "Virtual-1", GPU, (Way.COPY,)),
    ),
    X86_64.name: (Card("virtio-gpu", "Virtual-1", 0, (Way.COPY,)),),
}


@dataclass(frozen=True, slots=True)
class Case:
    card: Card
    width: int
    height: int
    way: Way

    @property
    def connectors(self) -> str:
        return f"{self.card.output}:{self.width}x{self.height}"

    def __str__(self) -> str:
        return f"{self.card.name}, {self.width}x{self.height}, {self.way.value}"


@dataclass(slots=True)
class Outcome:
    """Of one backend in one case: a cost for each repetition, and what went wrong."""

    costs: list[Cost] = field(default_factory=list[Cost])
    failures: list[str] = field(default_factory=list[str])


def compare(kind: MachineKind, directory: Path, program: Program, *, instructions: bool) -> int:
    """Boots the machine, measures all cases, prints the table; the exit code is 1 when a case of ours failed."""
    images = kind.build()
    directory = directory / kind.name
    directory.mkdir()
    booted = counting(kind) if instructions else kind
    with Machine(booted, images, directory) as machine:
        rig = Rig(machine)
        rig.boot()
        rig.daemon.stop()
        other = Other(rig.dom0, program)
        other.install()
        backends = (Ours(rig.daemon), other)
        if instructions:
            # dom0 is not preempted by a guest while a process's clock runs.
            rig.dom0.run("xl", "sched-credit2", "-s", "-r", "100000")
        with cards_present(rig):
            outcomes = {
                (case, backend.name): outcome
                for case in cases(kind)
                for backend, outcome in _take_turns(rig, case, backends, instructions=instructions)
            }
    print(table(outcomes, instructions=instructions), flush=True)
    ours = [outcome for (_, name), outcome in outcomes.items() if name == Ours.name]
    return 1 if any(outcome.failures for outcome in ours) else 0


def cases(kind: MachineKind) -> list[Case]:
    return [
        Case(card, width, height, way)
        for card in CARDS[kind.name]
        for way in card.ways
        for width, height in SIZES
    ]


@contextmanager
def cards_present(rig: Rig) -> Generator[None]:
    """All of :data:`CARDS`, and no backend. No other guest may be there."""
    loaded = controller(rig, CONTROLLER) if rig.machine.kind.name == ARM64.name else nullcontext()
    with loaded:
        rig.daemon.stop()
        yield


def counting(kind: MachineKind) -> MachineKind:
    """The machine with a clock of instructions, and one processor.

    With -icount QEMU runs several in turn, each for up to 100 ms of its time, and whoever waits for another in a
    loop, as Xen does for TLB flushes, burns all of it.
    """

    def hardware(images: Images) -> list[str]:
        line = kind.hardware(images)
        line[line.index("-accel") + 1] = "tcg,thread=single"
        line[line.index("-smp") + 1] = "1"
        line = [word.replace("dom0_max_vcpus=2", "dom0_max_vcpus=1") for word in line]
        return [*line, "-icount", f"shift={ICOUNT_SHIFT}"]

    return dataclasses.replace(kind, hardware=hardware)


def _take_turns(
    rig: Rig, case: Case, backends: Sequence[Backend], *, instructions: bool
) -> list[tuple[Backend, Outcome]]:
    outcomes = [(backend, Outcome()) for backend in backends if backend.takes(case.way)]
    flips = COUNTED_FLIPS if instructions else FLIPS
    for number in range(REPETITIONS):
        for backend, outcome in outcomes:
            if outcome.failures:
                continue
            try:
                cost = measure_backend(rig, backend, case, flips=flips)
            except RigError as error:
                outcome.failures.append(str(error))
                progress(f"{case}: {backend.name}: {error}")
                continue
            outcome.costs.append(cost)
            progress(
                f"{case}: {backend.name} {number + 1}/{REPETITIONS}: {cost.total_system_calls:.2f}"
                f" system calls ({cost.busiest}), {cost.cpu_ns / 1e6:.3f} ms"
            )
    return outcomes


def measure_backend(rig: Rig, backend: Backend, case: Case, *, flips: int) -> Cost:
    """Backend and guest started anew, the picture checked to the pixel, and the cost of flips.

    Raises: RigError: it can't, with the last of what the backend said; or another picture; or another way.
    """
    since = len(backend.log())
    with _guest(rig, case) as guest, backend.running(case.card.output, case.way) as pid:
        guest.up()
        try:
            guest.ask(f"mode 0 {case.width}x{case.height} XR24", timeout=60)
            guest.ask(f"show 0 {PICTURE}", timeout=60)
        except RigError as error:
            raise RigError(f"{error}; log: {' | '.join(backend.log()[since:][-2:])}") from None
        rig.expect_picture(case.card.screen, pattern(case.width, case.height, PICTURE))
        imported = "imported=yes" in rig.dom0.shell("cat /sys/kernel/debug/dri/*/state")
        if imported != (case.way is Way.ZERO_COPY):
            raise RigError(f"not by {case.way.value}: an imported framebuffer is {imported=}")
        return measure(rig.dom0, guest, pid, flips=flips, traced=TRACED_FLIPS)


@contextmanager
def _guest(rig: Rig, case: Case) -> Generator[Guest]:
    guest = Guest(rig.dom0, rig.machine.kind.guest, "compared", case.connectors)
    guest.destroy()
    try:
        yield guest
    finally:
        guest.destroy()


def table(outcomes: dict[tuple[Case, str], Outcome], *, instructions: bool) -> str:
    """Markdown; medians, and in brackets smallest and largest of the repetitions."""
    rows: list[str] = []
    failures: list[str] = []
    for (case, name), outcome in outcomes.items():
        if outcome.failures:
            failures.append(f"{case}: {name}: {outcome.failures[0]}")
            continue
        columns = _columns(outcome, instructions=instructions)
        if not rows:
            rows = [
                f"| case | backend | {' | '.join(columns)} |",
                "|---|---" + "|---" * len(columns) + "|",
            ]
        rows.append(f"| {case} | {name} | {' | '.join(columns.values())} |")
    return "\n".join([*rows, *_ratios(outcomes), *failures])


def _columns(outcome: Outcome, *, instructions: bool) -> dict[str, str]:
    columns = {"system calls": _spread(outcome, lambda cost: cost.total_system_calls, 2)}
    if instructions:
        scale = 1 << ICOUNT_SHIFT
        columns["instructions"] = _spread(outcome, lambda cost: cost.cpu_ns / scale, 0)
    else:
        columns["CPU, ms"] = _spread(outcome, lambda cost: cost.cpu_ns / 1e6, 2)
        # Told in steps of 10 ms: too coarse for what is counted beside it otherwise.
        columns["of it system, %"] = _spread(outcome, lambda cost: cost.system_share * 100, 0)
    columns["flips/s"] = _spread(outcome, lambda cost: cost.flips_per_second, 1)
    columns["threads"] = _spread(outcome, lambda cost: cost.threads, 0)
    columns["MiB"] = _spread(outcome, lambda cost: cost.resident_kib / 1024, 1)
    return columns


def _ratios(outcomes: dict[tuple[Case, str], Outcome]) -> list[str]:
    """Of the medians of CPU, where both have one."""
    by_case: dict[Case, dict[str, float]] = {}
    for (case, name), outcome in outcomes.items():
        if outcome.costs and not outcome.failures:
            middle = statistics.median(cost.cpu_ns for cost in outcome.costs)
            by_case.setdefault(case, {})[name] = middle
    return [
        f"{case}: {Ours.name} takes {found[Ours.name] / value:.2f} times the CPU of {name}"
        for case, found in by_case.items()
        if Ours.name in found
        for name, value in found.items()
        if name != Ours.name
    ]


def _spread(outcome: Outcome, value: Callable[[Cost], float], digits: int) -> str:
    values = [value(cost) for cost in outcome.costs]
    middle = f"{statistics.median(values):.{digits}f}"
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return middle if low == high else f"{middle} ({low}-{high})"
