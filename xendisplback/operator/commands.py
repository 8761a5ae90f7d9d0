# SPDX-License-Identifier: GPL-2.0-or-later
"""The subcommands that ask a running daemon."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import cast

from xendisplback.errors import HostError
from xendisplback.operator.client import ask


def run_route(socket: str, routes: Mapping[str, str | list[str]]) -> int:
    """Guests to places or ``"default"``, all in one step; the exit code. Raises HostError."""
    ask(socket, "route", {"routes": routes})
    return 0


def run_layout(socket: str, as_json: bool) -> int:
    """Raises HostError."""
    words = cast("dict[str, object]", ask(socket, "layout")["layout"])
    if as_json:
        print(json.dumps(words, indent=2, ensure_ascii=False))
    else:
        from xendisplback.operator.words import to_toml

        print(to_toml(words), end="")
    return 0


def run_status(socket: str, *, as_json: bool, brief: bool, watch: float | None) -> int:
    """``brief``: a line for each connector. ``watch``: again every so many seconds. Raises HostError."""
    from xendisplback.operator.tables import list_lines, status_lines

    lines = list_lines if brief else status_lines
    while True:
        status = cast("dict[str, object]", ask(socket, "status")["status"])
        if as_json:
            text = json.dumps(status, indent=2, ensure_ascii=False)
        else:
            text = "\n".join(lines(status))
        # Home, and what was there before is erased: a terminal's words since the VT100.
        print(text if watch is None else f"\x1b[H\x1b[2J{text}", flush=True)
        if watch is None:
            return 0
        time.sleep(watch)


def run_lease(socket: str, fd: int, name: str) -> int:
    """Raises HostError."""
    try:
        os.fstat(fd)
    except (OSError, OverflowError) as error:
        raise HostError(
            f"no file is open as {fd}", hint="--fd takes the number of an inherited one (9<>FILE)"
        ) from error
    ask(socket, "lease", {"name": name}, fd)
    return 0
