# SPDX-License-Identifier: GPL-2.0-or-later
"""Another program on the daemon's cards: dom0/desktop.py, run in dom0 as a service of its own."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.rig.cache import HERE
from tests.rig.dom0_link import Dom0, RigError

UNIT = "rig-desktop"
PROGRAM = "/root/desktop.py"
READY_SECONDS = 15.0


class Desktop:
    """``card`` is its device's name in /sys/class/drm (``card0``)."""

    def __init__(self, dom0: Dom0, card: str) -> None:
        self._dom0 = dom0
        self._node = f"/dev/dri/{card}"

    @contextmanager
    def shows(self, output: str, colour: str, *, instead_of: int) -> Generator[None]:
        """The card's master instead of process ``instead_of``, as at a switch of consoles; lights ``output``.

        Raises: RigError: it can't.
        """
        with self._running("show", output, colour, str(instead_of)):
            yield

    @contextmanager
    def leases(self, output: str, other: str, colour: str) -> Generator[None]:
        """A desktop shows a colour on ``other`` and has given ``output`` to the daemon."""
        with self._running("lease", output, other, colour):
            yield

    def revoke(self) -> None:
        """The lease given by :meth:`leases` ends; the desktop goes on."""
        self._dom0.run("systemctl", "kill", "--signal=USR1", UNIT)
        self._wait_for("revoked")

    @contextmanager
    def _running(self, command: str, *arguments: str) -> Generator[None]:
        self._dom0.run(
            *("systemd-run", "--quiet", f"--unit={UNIT}"),
            *("python3", PROGRAM, command, self._node, *arguments),
        )
        try:
            self._wait_for("ready")
            yield
        finally:
            self._dom0.run("systemctl", "stop", UNIT, check=False)
            self._dom0.run("systemctl", "reset-failed", UNIT, check=False)

    def _wait_for(self, word: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        run = self._dom0.run("systemctl", "show", "--value", "-p", "InvocationID", UNIT).out.strip()
        script = f"journalctl --no-pager -o cat _SYSTEMD_INVOCATION_ID={run}"
        while word not in (said := self._dom0.shell(script)).splitlines():
            running = self._dom0.run("systemctl", "is-active", UNIT, check=False).rc == 0
            if not running or time.monotonic() > deadline:
                raise RigError(f"{PROGRAM} did not say {word!r}: {said}")
            time.sleep(0.2)


def desktop(dom0: Dom0, output: str) -> Desktop:
    """For the card that has ``output``."""
    dom0.put(PROGRAM, (HERE / "dom0" / "desktop.py").read_bytes())
    (found,) = dom0.shell(f"basename $(dirname $(readlink -f /sys/class/drm/*-{output}))").split()
    return Desktop(dom0, found)
