# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line. Each subcommand imports what it needs, so that the others start fast."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from xendisplback import __version__
from xendisplback.errors import HostError
from xendisplback.operator import SOCKET


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except HostError as error:
        print(f"xendisplback: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has seen enough; nor may Python's own end flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: argparse.Namespace) -> int:
    from xendisplback.daemon.main import run
    from xendisplback.native import NativeHost

    return run(arguments.config, NativeHost())


def _demo(arguments: argparse.Namespace) -> int:
    from xendisplback.sim.demo import run_demo

    return run_demo(arguments.seconds, arguments.output)


def _route(arguments: argparse.Namespace) -> int:
    from xendisplback.operator.commands import run_route

    return run_route(arguments.socket, arguments.routes)


def _layout(arguments: argparse.Namespace) -> int:
    from xendisplback.operator.commands import run_layout

    return run_layout(arguments.socket, arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from xendisplback.operator.commands import run_status

    brief, watch = arguments.command == "list", arguments.watch
    return run_status(arguments.socket, as_json=arguments.json, brief=brief, watch=watch)


def _check(arguments: argparse.Namespace) -> int:
    from xendisplback.check.guest_files import run_check

    return run_check(arguments.socket, arguments.files, as_json=arguments.json)


def _lease(arguments: argparse.Namespace) -> int:
    from xendisplback.operator.commands import run_lease

    return run_lease(arguments.socket, arguments.fd, arguments.name)


class _Routes(argparse.Action):
    """``linux1=HDMI-A-1/camera,HDMI-A-2 linux2=none``: guests to places; the daemon judges the names."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        routes: dict[str, str | list[str]] = {}
        for text in cast("list[str]", values):
            # The last "=": a domain's name may have one, a place's has not.
            guest, _, places = text.rpartition("=")
            if not guest or not places:
                raise argparse.ArgumentError(self, f"{text!r} is no route")
            if guest in routes:
                raise argparse.ArgumentError(self, f"guest {guest!r} is named twice")
            if places != "default":
                routes[guest] = [] if places == "none" else places.split(",")
            else:
                routes[guest] = places
        setattr(namespace, self.dest, routes)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.1 to 3600 seconds")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xendisplback", description="Display backend (vdispl) of a Xen host, on KMS."
    )
    parser.add_argument("--version", action="version", version=f"xendisplback {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve the guests of this host (needs Xen)")
    run.set_defaults(run=_run)
    run.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML file; default: /etc/xendisplback/xendisplback.toml if it exists",
    )
    route = commands.add_parser("route", help="show guests elsewhere, all in one step")
    route.set_defaults(run=_route)
    route.add_argument(
        "routes",
        nargs="+",
        action=_Routes,
        metavar="GUEST=PLACES",
        help="GUEST: DOMAIN, DOMAIN/DEVICE or DOMAIN/DEVICE/CONNECTOR; PLACES: OUTPUT or OUTPUT/LAYER, several"
        ' with commas (mirrored), "none", or "default" (what its unique-id names)',
    )
    layout = commands.add_parser("layout", help="print what is shown where, as a configuration")
    layout.set_defaults(run=_layout)
    layout.add_argument("--json", action="store_true", help="for programs")
    status = commands.add_parser("status", help="what guests have, and how it is shown")
    listing = commands.add_parser("list", help="the same, a line for each connector of a guest")
    for asked in (status, listing):
        asked.set_defaults(run=_status)
        how = asked.add_mutually_exclusive_group()
        how.add_argument("--json", action="store_true", help="for programs")
        how.add_argument(
            "--watch",
            type=_seconds,
            nargs="?",
            const=1.0,
            metavar="SECONDS",
            help="again and again, until Ctrl-C; default: every second",
        )
    check = commands.add_parser("check", help="find what will not work in guests' xl files")
    check.set_defaults(run=_check)
    check.add_argument("files", nargs="+", type=Path, metavar="FILE", help="what xl create takes")
    check.add_argument("--json", action="store_true", help="for programs")
    lease = commands.add_parser("lease", help="give the daemon a DRM lease to use as a card")
    lease.set_defaults(run=_lease)
    lease.add_argument(
        "--fd", type=int, required=True, metavar="N", help="the lease, open in this process"
    )
    lease.add_argument("name", metavar="NAME", help="what the card is to be called")
    for client in (route, layout, status, listing, check, lease):
        client.add_argument(
            "--socket", default=SOCKET, metavar="PATH", help=f"the daemon's; default: {SOCKET}"
        )
    _add_demo(
        commands.add_parser(
            "demo", help="run the daemon on a simulated Xen host with two guests on two screens"
        )
    )
    return parser


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.set_defaults(run=_demo)
    demo.add_argument("--seconds", type=float, default=5.0, metavar="N", help="default: 5")
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("demo-out"),
        metavar="DIR",
        help="where the PNG of each screen goes; default: demo-out",
    )
