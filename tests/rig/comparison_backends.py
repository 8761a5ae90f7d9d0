# SPDX-License-Identifier: GPL-2.0-or-later
"""The two sides of a comparison, our daemon and the binary of another backend: run in dom0, one at a time."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from tests.rig.daemon import Daemon
from tests.rig.dom0_link import Dom0, RigError

OTHER_UNIT = "compared-backend"
OTHER_DIRECTORY = "/root/compared"
# Until it watches XenStore; it has no way to tell us.
OTHER_STARTS_SECONDS = 2.0


class Way(Enum):
    """How a guest's picture gets to the screen."""

    ZERO_COPY = "zero copy"
    COPY = "copy"


# So that ours takes no other way than the one that is measured.
POLICIES = {Way.ZERO_COPY: "require", Way.COPY: "never"}


class Backend(Protocol):
    @property
    def name(self) -> str: ...

    def takes(self, way: Way) -> bool: ...

    def running(self, connector: str, way: Way) -> AbstractContextManager[int]:
        """Its process id; it serves guests on that connector's card until the end of the context."""
        ...

    def log(self) -> list[str]: ...


class Ours:
    name = "xendisplback"

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def takes(self, way: Way) -> bool:
        return way in POLICIES

    @contextmanager
    def running(self, connector: str, way: Way) -> Generator[int]:
        # Between its runs of flips the guest stands still: looks whether it draws would be counted as flips' cost.
        card = f'[card."connector:{connector}"]\nzero-copy = "{POLICIES[way]}"\n'
        try:
            with self._daemon.configured(f"refresh-rate = 0\n{card}"):
                yield self._daemon.pid()
        finally:
            self._daemon.stop()

    def log(self) -> list[str]:
        return self._daemon.log()


@dataclass(frozen=True, slots=True)
class Program:
    """Another backend: an executable for dom0. All files beside it go along; libraries are found among them.

    ``arguments`` by way; "{card}" in them stands for the card's node. A way without arguments is not run.
    """

    path: Path
    arguments: dict[Way, str]


class Other:
    def __init__(self, dom0: Dom0, program: Program) -> None:
        self.name = program.path.name
        self._dom0 = dom0
        self._program = program

    def install(self) -> None:
        """At run time, so that dom0's disk image does not depend on it."""
        for file in sorted(self._program.path.parent.iterdir()):
            if file.is_file():
                self._dom0.put(f"{OTHER_DIRECTORY}/{file.name}", file.read_bytes())
        self._dom0.run("chmod", "+x", f"{OTHER_DIRECTORY}/{self.name}")

    def takes(self, way: Way) -> bool:
        return way in self._program.arguments

    @contextmanager
    def running(self, connector: str, way: Way) -> Generator[int]:
        arguments = self._program.arguments[way].replace("{card}", self._card(connector))
        self._dom0.run(
            *("systemd-run", "--quiet", "--collect", f"--unit={OTHER_UNIT}"),
            f"--setenv=LD_LIBRARY_PATH={OTHER_DIRECTORY}",
            *(f"{OTHER_DIRECTORY}/{self.name}", *shlex.split(arguments)),
        )
        try:
            time.sleep(OTHER_STARTS_SECONDS)
            yield self._pid()
        finally:
            self._dom0.run("systemctl", "stop", OTHER_UNIT, timeout=100, check=False)

    def log(self) -> list[str]:
        return journal(self._dom0, OTHER_UNIT)

    def _card(self, connector: str) -> str:
        listed = self._dom0.shell(f"ls -d /sys/class/drm/card*-{connector}")
        (number,) = re.findall(r"/card(\d+)-", listed)
        return f"/dev/dri/card{number}"

    def _pid(self) -> int:
        shown = self._dom0.run("systemctl", "show", "--value", "-p", "MainPID", OTHER_UNIT).out
        if int(shown) == 0:
            raise RigError(f"{self.name} has ended: {' '.join(self.log()[-3:])}")
        return int(shown)


def journal(dom0: Dom0, unit: str) -> list[str]:
    return dom0.run(
        "journalctl", "--no-pager", "--output=cat", f"--unit={unit}", timeout=60
    ).out.splitlines()
