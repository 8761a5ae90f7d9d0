# SPDX-License-Identifier: GPL-2.0-or-later
"""The wheels that ``pip install`` of the project needs, fetched on the host for dom0's Python.

dom0 has no network, so its pip gets a directory of wheels. They are chosen for dom0's Python and
architecture, which need not be the host's.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.rig.cache import CHECKOUT, cached
from tests.rig.debian import command

DOM0_PYTHON = "3.11"


def wheels(machine: str) -> Path:
    """A directory of wheels for ``machine`` ("x86_64", "aarch64")."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    needed: list[str] = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    # The build back end asks for wheel by itself when its version is below 70.1.
    needed = sorted([*needed, "wheel"])
    return cached(
        f"wheels-{machine}",
        [*needed, DOM0_PYTHON],
        f"wheels of {', '.join(needed)}",
        lambda path: _download(path, machine, needed),
    )


def _download(path: Path, machine: str, needed: list[str]) -> None:
    path.mkdir(exist_ok=True)
    venv = path / "venv"
    command(sys.executable, "-m", "venv", venv, timeout=120)
    pip = venv / "bin" / "pip"
    # pip downloads for another Python only what exists as a wheel; a project that is published as source
    # alone must be pure Python, and is built here.
    for requirement in needed:
        download = _download_command(pip, path, machine, requirement)
        done = subprocess.run(download, capture_output=True, timeout=600, check=False)
        if done.returncode != 0:
            command(pip, "wheel", "--no-deps", "--wheel-dir", path, requirement, timeout=600)
    command("rm", "-r", venv, timeout=60)


def _download_command(pip: Path, path: Path, machine: str, requirement: str) -> list[str]:
    platforms = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
    return [
        *(str(pip), "download", "--dest", str(path), "--only-binary=:all:"),
        *("--python-version", DOM0_PYTHON, "--implementation", "cp"),
        *(word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)),
        *(word for name in platforms for word in ("--platform", f"{name}_{machine}")),
        requirement,
    ]
