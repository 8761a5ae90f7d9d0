# SPDX-License-Identifier: GPL-2.0-or-later
"""``python3 -m tests.rig``: builds what is missing, boots, runs the scenarios, says how many failed."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.rig.cache import cache_directory, progress
from tests.rig.dom0_link import RigError
from tests.rig.dom0_root import images
from tests.rig.qemu import Machine
from tests.rig.rig import Rig
from tests.rig.scenario import Scenario, run
from tests.rig.scenarios import in_order
from tests.rig.shell import shell

FAILED_PREPARATION = 2


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # As an exception, so that QEMU ends with us.
    sys.exit("rig: ended by SIGTERM")


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _end)
    if arguments.list:
        for item in in_order():
            print(f"{item.name:24} {item.shows}")
        return 0
    if os.geteuid() != 0:
        sys.exit("rig: needs root, to build dom0's root file system (mmdebstrap, chroot)")
    chosen = _choose(arguments.only)
    built = images()
    directory = _run_directory()
    if arguments.shell:
        return shell(built, directory)
    return _run_all(chosen, Machine(built, directory), keep=arguments.keep)


def _run_all(chosen: list[Scenario], machine: Machine, *, keep: bool) -> int:
    started = time.monotonic()
    with machine:
        rig = Rig(machine)
        try:
            rig.boot()
        except RigError as error:
            progress(f"dom0 did not start: {error}\n{rig.evidence()}")
            return FAILED_PREPARATION
        failed = [item.name for item in chosen if not run(item, rig)]
        if keep:
            input(f"rig: still running; sockets in {machine.directory}; Enter ends it ")
    progress(f"{time.monotonic() - started:.0f} s; logs and last pictures in {machine.directory}")
    if failed:
        print(f"failed: {' '.join(failed)}")
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _choose(names: list[str] | None) -> list[Scenario]:
    known = {item.name: item for item in in_order()}
    if unknown := [name for name in names or [] if name not in known]:
        sys.exit(f"rig: no scenario {', '.join(unknown)}; --list names them")
    return [item for item in in_order() if names is None or item.name in names]


def _run_directory() -> Path:
    """Of this process: rigs may run side by side. The one before last is forgotten."""
    runs = cache_directory() / "runs"
    runs.mkdir(exist_ok=True)
    for old in sorted(runs.iterdir(), key=lambda path: path.stat().st_mtime)[:-3]:
        if not Path(f"/proc/{old.name}").exists():
            shutil.rmtree(old)
    directory = runs / str(os.getpid())
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.rig",
        description="Real Xen, real guests and a real KMS driver inside QEMU; checks each pixel.",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these scenarios alone")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument(
        "--shell", action="store_true", help="dom0's console, with a guest that draws"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the machine running until Enter is pressed"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
