# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests: created by xl as a user does, driven by lines to guest/draw.c on their consoles."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tests.rig.dom0_link import Dom0, RigError
from tests.rig.machines.kind import GuestKind

# libxl gives a backend 10 s; the rest is building a domain under TCG.
CREATE_SECONDS = 60.0
START_SECONDS = 120.0
CONFIG = """\
name = "{name}"
type = "{kind.type}"
kernel = "/root/guest-vmlinuz"
ramdisk = "/root/guest.cpio.gz"
extra = "{kind.extra}"
memory = {kind.memory}
on_crash = "destroy"
vdispl = [ '{vdispl}' ]
"""


@dataclass(frozen=True, slots=True)
class Flips:
    """What the guest saw: ``count`` flips, ``mean`` microseconds apart; the others are from request to event."""

    count: int
    mean: int
    shortest: int
    median: int
    p99: int
    longest: int

    @property
    def spread(self) -> str:
        """For people: milliseconds."""
        median, p99, longest = (us / 1000 for us in (self.median, self.p99, self.longest))
        return f"median {median:.1f}, p99 {p99:.1f}, max {longest:.1f} ms"


@dataclass(frozen=True, slots=True)
class Rounds:
    """Buffers made, shown and removed; mean microseconds of each. ``failures``: "round 7: ADDFB2: ..."."""

    count: int
    failures: list[str]
    milliseconds: int
    create: int
    show: int
    remove: int


@dataclass(frozen=True, slots=True)
class Created:
    domid: int
    seconds: float


def vdispl(connectors: str, be_alloc: bool = False) -> str:
    return f"backend=0,be-alloc={be_alloc:d},connectors={connectors}"


class Guest:
    """One domain by name; its domid changes with each :meth:`create`."""

    def __init__(
        self, dom0: Dom0, kind: GuestKind, name: str, connectors: str, *, be_alloc: bool = False
    ) -> None:
        self.name = name
        self._be_alloc = be_alloc
        self._kind = kind
        self.connectors = connectors
        self._dom0 = dom0
        self.domid: int | None = None

    def create(self) -> Created:
        """``xl create`` alone.

        Raises: RigError: what xl said.
        """
        path = f"/root/{self.name}.cfg"
        display = vdispl(self.connectors, self._be_alloc)
        text = CONFIG.format(name=self.name, kind=self._kind, vdispl=display)
        self._dom0.put(path, text.encode())
        self.domid = None
        started = time.monotonic()
        self._dom0.run("xl", "create", path, timeout=CREATE_SECONDS)
        seconds = time.monotonic() - started
        self.domid = int(self._dom0.run("xl", "domid", self.name).out)
        return Created(self.domid, seconds)

    def wait_until_up(self) -> None:
        """Until its program answers. A line sent before the console's driver is there is lost."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.ask("ping", timeout=5.0)
            except RigError:
                if time.monotonic() > deadline:
                    raise
            else:
                return

    def up(self) -> Guest:
        """Created, up and with its card open, whatever it was before."""
        if not self.exists():
            self.create()
        self.wait_until_up()
        self.open()
        return self

    def exists(self) -> bool:
        found = self._dom0.run("xl", "domid", self.name, check=False)
        self.domid = int(found.out) if found.rc == 0 else None
        return self.domid is not None

    def destroy(self) -> float:
        """Seconds it took; nothing happens when it does not exist."""
        started = time.monotonic()
        if self.exists():
            self._dom0.run("xl", "destroy", self.name, timeout=60)
            self.domid = None
        return time.monotonic() - started

    def ask(self, line: str, timeout: float = 30.0) -> str:
        return self.ask_all(line, timeout)[0]

    def ask_all(self, line: str, timeout: float = 30.0) -> tuple[str, list[str]]:
        if self.domid is None:
            raise RigError(f"guest {self.name} does not exist")
        return self._dom0.ask(self.domid, line, timeout)

    def open(self, seconds: int = 30) -> str:
        """The connectors' modes, e.g. "1 800x600"; waits for a card that is being plugged in."""
        return self.ask(f"open {seconds}", timeout=seconds + 15.0)

    def flip(self, count: int, index: int = 0) -> Flips:
        return parse_flips(self.ask(f"flip {index} {count}", timeout=60.0 + count * 0.5))

    def stop(self, index: int = 0) -> Flips:
        return parse_flips(self.ask(f"stop {index}"))

    def rounds(self, count: int, how: str = "flip", options: str = "", index: int = 0) -> Rounds:
        """``how``: flip, set, off; ``options``: "source=heap:cma pitch=..." (guest/draw.c).

        Raises: RigError: nothing is shown that a round could replace.
        """
        line = f"rounds {index} {count} {how} {options}".rstrip()
        answer, failures = self.ask_all(line, timeout=60.0 + count * 1.0)
        return parse_rounds(answer, failures)

    def kernel_log(self, text: str) -> list[str]:
        return self.ask_all(f"klog {text}")[1]

    def shell(self, script: str, timeout: float = 30.0) -> list[str]:
        """Its output. Raises: RigError: the exit code is not 0."""
        code, lines = self.ask_all(f"sh exec 2>&1; {script}", timeout)
        if code != "0":
            raise RigError(f"guest {self.name}: {script}: exit code {code}: {lines}")
        return lines


def parse_flips(answer: str) -> Flips:
    found = re.fullmatch(
        r"flips (\d+) mean (\d+) min (\d+) median (\d+) p99 (\d+) max (\d+) us", answer
    )
    if found is None:
        raise RigError(f"not a report of flips: {answer!r}")
    return Flips(*map(int, found.groups()))


def parse_rounds(answer: str, failures: list[str]) -> Rounds:
    pattern = r"rounds (\d+) failed \d+ ms (\d+) create (\d+) show (\d+) remove (\d+) us"
    found = re.fullmatch(pattern, answer)
    if found is None:
        raise RigError(f"not a report of rounds: {answer!r}")
    count, *times = map(int, found.groups())
    return Rounds(count, failures, *times)
