# SPDX-License-Identifier: GPL-2.0-or-later
"""What a scenario is given: the machine, dom0, the daemon, and guests by name."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.rig.cache import progress
from tests.rig.daemon import UNIT, Daemon
from tests.rig.dom0_link import Dom0, RigError
from tests.rig.guests import Guest
from tests.rig.machines.kind import GuestKind
from tests.rig.picture import Picture, difference, parse_ppm
from tests.rig.qemu import Machine

# Guest "a" is on the first screen, "b" on the second: two heads of one card, or two cards.
SCREENS = {"a": ("Virtual-1", 800, 600), "b": ("Virtual-2", 1024, 768)}
SETTLE_SECONDS = 5.0


class Rig:
    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.dom0 = Dom0(machine.agent_socket())
        self.daemon = Daemon(self.dom0)
        self._guests: dict[str, Guest] = {}

    def boot(self) -> None:
        progress("waiting for dom0 (Xen, Linux and systemd under emulation: 20-120 s) …")
        seconds = self.dom0.wait_for_boot()
        progress(f"dom0 answers after {seconds:.0f} s; waiting for its services …")
        self.dom0.run("systemctl", "is-system-running", "--wait", timeout=180, check=False)
        self.dom0.run("xl", "info", timeout=60)

    def guest(self, name: str, connectors: str | None = None) -> Guest:
        """The guest of that name, not necessarily created; ``connectors`` for others than "a", "b"."""
        if name not in self._guests:
            if connectors is None:
                output, width, height = SCREENS[name]
                connectors = f"{output}:{width}x{height}"
            self._guests[name] = Guest(self.dom0, self.machine.kind.guest, name, connectors)
        return self._guests[name]

    @contextmanager
    def own_guest(
        self,
        name: str,
        connectors: str,
        *,
        be_alloc: bool = False,
        kind: GuestKind | None = None,
    ) -> Generator[Guest]:
        """A guest of one scenario, up, and destroyed at its end."""
        kind = kind or self.machine.kind.guest
        guest = Guest(self.dom0, kind, name, connectors, be_alloc=be_alloc)
        self.serve()
        guest.destroy()
        try:
            yield guest.up()
        finally:
            guest.destroy()

    def serve(self) -> None:
        """The daemon runs, whatever a scenario before has left."""
        if self.daemon.state() != "active":
            self.daemon.start()

    def guest_up(self, name: str) -> Guest:
        """A guest that can draw. One that can't any more is replaced: scenarios don't fail for others."""
        self.serve()
        guest = self.guest(name)
        try:
            return guest.up()
        except RigError as error:
            progress(f"guest {name} is made anew: {error}")
            guest.destroy()
            return guest.up()

    def expect_picture(self, screen: int, expected: Picture) -> float:
        """Seconds until the screen of that number (machines/kind.py) shows it.

        Raises: RigError: it didn't within SETTLE_SECONDS; says how it differs, and leaves the picture.
        """
        started = time.monotonic()
        while True:
            dump = self.machine.screendump(screen)
            seconds = time.monotonic() - started
            wrong = difference(parse_ppm(dump), expected)
            if wrong is None:
                return seconds
            if seconds > SETTLE_SECONDS:
                path = self.machine.directory / f"wrong-{screen}.ppm"
                path.write_bytes(dump)
                raise RigError(f"screen {screen + 1}: {wrong} (kept: {path})")
            time.sleep(0.2)

    def no_zombies(self) -> None:
        """A mapping of a dead guest's memory that is still held keeps it in Xen's list, nameless."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while "(null)" in (domains := self.dom0.run("xl", "list").out):
            if time.monotonic() > deadline:
                raise RigError(f"a dead guest's memory is still mapped:\n{domains}")
            time.sleep(0.5)

    def evidence(self) -> str:
        """What all parts of the machine said, for a failure's report."""
        script = f"""
            echo "--- journal of {UNIT}"; journalctl --no-pager -o short-precise -u {UNIT} | tail -60
            echo "--- dom0's kernel"; journalctl --no-pager -o short-precise -k | tail -15
            echo "--- xl dmesg"; xl dmesg | tail -15
            for log in /var/log/xen/console/guest-*.log; do echo "--- $log"; tail -n 15 "$log"; done
            echo "--- XenStore"; xenstore-ls -f /local/domain/0/backend/vdispl
            xenstore-ls -f /local/domain | grep device/vdispl
        """
        try:
            return self.dom0.shell(script, timeout=60, check=False)
        except RigError as error:
            console = self.machine.directory / "console.log"
            return f"{error}\n--- dom0's console\n{console.read_text(errors='replace')[-4000:]}"
