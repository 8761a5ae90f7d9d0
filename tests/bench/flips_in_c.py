# SPDX-License-Identifier: GPL-2.0-or-later
"""A million flips. All of a flip is C, so tests/flip/cost.c makes them, which waits for no vblank."""

from __future__ import annotations

import os
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.copy.programs import OPTIMIZED, PICTURES, build
from tests.flip import programs

COST = Path(programs.__file__).parent / "cost.c"


@dataclass(frozen=True, slots=True)
class FlipsInC:
    growth: float
    """KiB that a process had resident at most, more than one that made a hundredth of the flips."""
    cpu: float
    """Microseconds per flip, user and system, with the program's own guest and card."""


def measure_flips_in_c(folder: Path, flips: int) -> FlipsInC:
    program = build(folder / "flips", OPTIMIZED, COST, *programs.FLIPS, *PICTURES)
    few, many = _run(program, flips // 100), _run(program, flips)
    seconds = many.ru_utime + many.ru_stime - few.ru_utime - few.ru_stime
    return FlipsInC(many.ru_maxrss - few.ru_maxrss, 1e6 * seconds / (flips - flips // 100))


def _run(program: Path, flips: int) -> resource.struct_rusage:
    process = subprocess.Popen([program, str(flips)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, str(program))
    return usage
