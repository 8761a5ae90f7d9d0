# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies and conversions are vectorised: counted in instructions, which no busy machine falsifies."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.copy.programs import HERE, OPTIMIZED, SOURCES, build

PIXELS = 1920 * 16
"""That cost.c converts."""
CONVERSIONS = {"RGB565": 1, "RGB888": 2, "XRGB4444": 3, "XRGB1555": 4, "YUYV": 5}


def has_avx2() -> bool:
    return " avx2 " in Path("/proc/cpuinfo").read_text()


LIMITS = {"base": 14.0, "best": 3.0 if has_avx2() else 14.0}
"""Instructions for each pixel: 2.5 to 9.5, and 1.2 to 2.3 with AVX2. One at a time, most take 21 to 52."""
COPY_LIMITS = {"base": 3.0, "best": 1.5 if has_avx2() else 3.0}
"""As much of four bytes that are copied and digested: 2.2, and 1.1 with AVX2; 4.8 in words."""


@pytest.fixture(scope="module")
def cost(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], float]:
    program = build(
        tmp_path_factory.mktemp("cost") / "cost",
        OPTIMIZED,
        HERE / "cost.c",
        SOURCES / "picture_digest.c",
    )

    def count(instructions: str, conversion: int) -> float:
        callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        row = [str(program), instructions, str(conversion)]
        command = [*callgrind, "--toggle-collect=measured", *row]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert found
        return int(found[1]) / PIXELS

    return count


@pytest.mark.parametrize("instructions", LIMITS)
@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_take_few_instructions(
    cost: Callable[[str, int], float], name: str, instructions: str
) -> None:
    each = cost(instructions, CONVERSIONS[name])
    assert 0.5 < each <= LIMITS[instructions]


@pytest.mark.parametrize("instructions", COPY_LIMITS)
def test_copies_with_a_digest_take_few_instructions(
    cost: Callable[[str, int], float], instructions: str
) -> None:
    assert 0.1 < cost(instructions, 0) <= COPY_LIMITS[instructions]
