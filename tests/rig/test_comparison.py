# SPDX-License-Identifier: GPL-2.0-or-later
"""The comparison's table: what is read off it must be what was measured."""

from __future__ import annotations

from pathlib import Path

from tests.rig.comparison import ICOUNT_SHIFT, Case, Outcome, cases, counting, table
from tests.rig.comparison_backends import Ours
from tests.rig.comparison_cost import Cost
from tests.rig.machines.arm64 import ARM64
from tests.rig.machines.kind import Images

CASE: Case = cases(ARM64)[0]


def _cost(cpu_ms: float, calls: float = 7.0) -> Cost:
    return Cost(
        {"ioctl": 3.0, "read": calls - 3.0, "clock_gettime": 5.0}, cpu_ms * 1e6, 0.5, 60.0, 6, 2048
    )


def test_medians_with_their_spread_and_the_ratio_of_medians() -> None:
    ours = Outcome([_cost(1.0), _cost(9.0), _cost(2.0)])
    other = Outcome([_cost(4.0, 8.0), _cost(4.0, 8.0), _cost(4.0, 8.0)])
    text = table({(CASE, Ours.name): ours, (CASE, "other"): other}, instructions=False)
    assert "| xendisplback | 7.00 | 2.00 (1.00-9.00) | 50 | 60.0 | 6 | 2.0 |" in text
    assert "| other | 8.00 | 4.00 |" in text
    assert f"{CASE}: xendisplback takes 0.50 times the CPU of other" in text


def test_instructions_are_nanoseconds_of_the_counting_machine() -> None:
    text = table({(CASE, Ours.name): Outcome([_cost(0.1)])}, instructions=True)
    assert f"| {1e5 / (1 << ICOUNT_SHIFT):.0f} |" in text


def test_a_failure_is_told_and_gives_no_ratio() -> None:
    failed = Outcome([_cost(1.0)], ["mode: ENOMEM"])
    text = table(
        {(CASE, Ours.name): Outcome([_cost(1.0)]), (CASE, "other"): failed}, instructions=False
    )
    assert f"{CASE}: other: mode: ENOMEM" in text
    assert "times the CPU" not in text


def test_the_counting_machine_has_one_processor(tmp_path: Path) -> None:
    images = Images(tmp_path / "xen", tmp_path / "kernel", None, tmp_path / "disk")
    line = counting(ARM64).hardware(images)
    assert line[line.index("-smp") + 1] == "1"
    assert "dom0_max_vcpus=1" in line[line.index("-append") + 1]
    assert line[-2:] == ["-icount", f"shift={ICOUNT_SHIFT}"]
    assert "-icount" not in ARM64.hardware(images)
