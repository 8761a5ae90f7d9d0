# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs in C on the pictures' sources, for what Python cannot see of them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "cffi_build"
PICTURES = [SOURCES / f"picture_{name}.c" for name in ("choice", "convert", "copy", "digest")]
OPTIMIZED = ["-O3", "-g"]
"""As cffi_build/flip_build.py."""
SANITIZED = ["-g", "-O1", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"]


def build(target: Path, flags: Sequence[str], *files: Path) -> Path:
    """``target``, which is compiled from ``files``."""
    always = ["-Wall", "-Wextra", "-Werror", "-pthread", f"-I{SOURCES}", f"-o{target}"]
    subprocess.run(["gcc", *flags, *always, *files], check=True, timeout=60)
    return target


def output(*command: str | Path) -> str:
    """What a program prints that succeeds and complains about nothing."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
