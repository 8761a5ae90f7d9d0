# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs in C on the flips' sources."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.copy.programs import OPTIMIZED, PICTURES, SOURCES, build

MIX = ("mix", "pace", "compose", "thread")
FLIPS = [
    SOURCES / f"flip_{name}.c" for name in ("ring", "channel", "scanout", "card", "trace", *MIX)
]
MIXES = [SOURCES / f"flip_{name}.c" for name in MIX] + PICTURES


def instructions_per_flip(folder: Path, connectors: int = 1, flips: int = 1920) -> float:
    """Of a flip without a copy, by callgrind: all threads, libc's part, the test's own guest and card.

    ``flips``: a multiple of ``connectors``, each a guest's only one; up to 64.
    """
    here = Path(__file__).parent
    program = build(folder / "cost", OPTIMIZED, here / "cost.c", *FLIPS, *PICTURES)

    def count(flips: int) -> int:
        callgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        done = subprocess.run(
            [*callgrind, str(program), str(flips), str(connectors)],
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert found
        return int(found[1])

    return (count(2 * flips) - count(flips)) / flips
