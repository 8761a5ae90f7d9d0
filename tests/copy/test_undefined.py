# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest chooses where its picture starts and how long its rows are: no choice is undefined behaviour."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "cffi_build"


def test_pictures_at_odd_addresses_pass_the_sanitizers(tmp_path: Path) -> None:
    program = tmp_path / "odd"
    flags = ["-g", "-O1", "-pthread", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]
    pictures = [SOURCES / f"memory_{name}.c" for name in ("choice", "convert", "copy", "digest")]
    files = [HERE / "odd.c", *pictures]
    subprocess.run(["gcc", *flags, "-I", SOURCES, "-o", program, *files], check=True, timeout=60)
    done = subprocess.run([program], check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
