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
from tests.rig.comparison import compare
from tests.rig.comparison_backends import Program, Way
from tests.rig.dom0_link import RigError
from tests.rig.machines import MACHINES
from tests.rig.machines.kind import MachineKind
from tests.rig.qemu import Machine
from tests.rig.rig import Rig
from tests.rig.scenario import Scenario, run
from tests.rig.scenarios import in_order
from tests.rig.shell import shell


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    # As an exception, so that QEMU ends with us.
    sys.exit("rig: ended by SIGTERM")


def main() -> int:
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _end)
    kinds = [MACHINES[arguments.machine]] if arguments.machine else list(MACHINES.values())
    if arguments.list:
        _list(kinds)
        return 0
    if os.geteuid() != 0:
        sys.exit("rig: needs root, to build dom0's root file system (mmdebstrap, chroot)")
    chosen = _choose(kinds, arguments.only)
    directory = _run_directory()
    if arguments.shell:
        return shell(kinds[0], kinds[0].build(), directory)
    if arguments.compare_with:
        if not arguments.machine:
            sys.exit("rig: --compare-with needs --machine: a binary is for one of them")
        return compare(
            kinds[0], directory, _program(arguments), instructions=arguments.count_instructions
        )
    failed: list[str] = []
    for kind, scenarios in chosen.items():
        failed += _run(kind, scenarios, directory, keep=arguments.keep)
    if failed:
        print(f"failed: {' '.join(failed)}")
    total = sum(map(len, chosen.values()))
    print(f"{total - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _run(kind: MachineKind, scenarios: list[Scenario], directory: Path, *, keep: bool) -> list[str]:
    """Boots the machine once and runs them all; those that failed, as "arm64/name"."""
    images = kind.build()
    own = directory / kind.name
    own.mkdir()
    started = time.monotonic()
    with Machine(kind, images, own) as machine:
        rig = Rig(machine)
        failed = _run_all(scenarios, rig)
        if keep:
            input(f"rig: still running; sockets in {own}; Enter ends it ")
    seconds = time.monotonic() - started
    counts = f"{len(scenarios) - len(failed)} passed, {len(failed)} failed"
    progress(f"{kind.name}: {counts}, {seconds:.0f} s; logs and last pictures in {own}")
    return [f"{kind.name}/{item.name}" for item in failed]


def _run_all(scenarios: list[Scenario], rig: Rig) -> list[Scenario]:
    """Those that failed: all of them on a machine that doesn't start."""
    try:
        rig.boot()
    except RigError as error:
        progress(f"dom0 did not start: {error}\n{rig.evidence()}")
        return scenarios
    return [item for item in scenarios if not run(item, rig)]


def _list(kinds: list[MachineKind]) -> None:
    for kind in kinds:
        print(f"{kind.name}:")
        for item in in_order(kind.name):
            asked = " (only by its name)" if item.on_demand else ""
            print(f"  {item.name:24} {item.shows}{asked}")


def _choose(kinds: list[MachineKind], names: list[str] | None) -> dict[MachineKind, list[Scenario]]:
    """The machines that have something to run, and what."""
    known = {item.name for kind in kinds for item in in_order(kind.name)}
    if unknown := [name for name in names or [] if name not in known]:
        sys.exit(f"rig: no scenario {', '.join(unknown)}; --list names them")
    chosen = {
        kind: [
            item
            for item in in_order(kind.name)
            if (not item.on_demand if names is None else item.name in names)
        ]
        for kind in kinds
    }
    return {kind: scenarios for kind, scenarios in chosen.items() if scenarios}


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


def _program(arguments: argparse.Namespace) -> Program:
    given = {Way.ZERO_COPY: arguments.compare_arguments, Way.COPY: arguments.compare_copy_arguments}
    by_way = {way: text for way, text in given.items() if text is not None}
    return Program(Path(arguments.compare_with).resolve(), by_way)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.rig",
        description="Real Xen, real guests and a real KMS driver inside QEMU; checks each pixel.",
    )
    parser.add_argument("--machine", choices=list(MACHINES), help="this one alone (both)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these scenarios alone")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument(
        "--shell",
        action="store_true",
        help="dom0's console, with a guest that draws (x86_64 unless --machine says another)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the machine running until Enter is pressed"
    )
    compared = parser.add_argument_group(
        "comparison", "what a flip costs us and another backend, instead of the scenarios"
    )
    compared.add_argument(
        "--compare-with",
        metavar="PATH",
        help="another backend's executable for dom0; the files beside it (libraries) go along",
    )
    compared.add_argument(
        "--compare-arguments",
        metavar="TEXT",
        help='its arguments for zero copy, "{card}" for the card\'s node; without: not run for it',
    )
    compared.add_argument(
        "--compare-copy-arguments", metavar="TEXT", help="its arguments for copies, likewise"
    )
    compared.add_argument(
        "--count-instructions",
        action="store_true",
        help="count instructions instead of time (QEMU's -icount)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
