# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line. Each subcommand imports what it needs, so that the others start fast."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xendisplback import __version__
from xendisplback.errors import HostError


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "demo":
            from xendisplback.sim.demo import run_demo

            return run_demo(arguments.seconds, arguments.output)
        from xendisplback.daemon.main import run
        from xendisplback.native import NativeHost

        return run(arguments.config, NativeHost())
    except HostError as error:
        print(f"xendisplback: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xendisplback", description="Display backend (vdispl) of a Xen host, on KMS."
    )
    parser.add_argument("--version", action="version", version=f"xendisplback {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve the guests of this host (needs Xen)")
    run.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file; default: /etc/xendisplback/xendisplback.toml if it exists",
    )
    demo = commands.add_parser(
        "demo", help="run the daemon on a simulated Xen host with two guests on two screens"
    )
    demo.add_argument("--seconds", type=float, default=5.0, metavar="N", help="default: 5")
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("demo-out"),
        metavar="DIR",
        help="where the PNG of each screen goes; default: demo-out",
    )
    return parser
