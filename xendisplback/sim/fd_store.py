# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd's file descriptor store. It outlives the daemon, not the host."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

from xendisplback.sim.process import Process


class SimFdStore:
    """Fulfils :class:`xendisplback.host.FdStore`; one for all daemons on a host, one after the other."""

    def __init__(self, process: Process) -> None:
        self.available = True
        self.held: dict[str, list[int]] = {}
        self._process = process
        self._left: dict[str, list[int]] = {}

    def keep(self, name: str, fd: int) -> None:
        # As notify(): where no descriptor is left, systemd is not told.
        with suppress(OSError):
            self.held.setdefault(name, []).append(os.dup(fd))

    def drop(self, name: str) -> None:
        for fd in self.held.pop(name, ()):
            os.close(fd)

    def take(self) -> Mapping[str, list[int]]:
        left, self._left = self._left, {}
        for fds in left.values():
            for fd in fds:
                self._process.opened_fd(fd)
        return left

    def daemon_ended(self) -> None:
        """The process ends, after an orderly stop or a crash; the next daemon gets copies of what is held."""
        self._process.end()
        self._close_left()
        self._left = {name: [os.dup(fd) for fd in fds] for name, fds in self.held.items()}

    def close(self) -> None:
        """With the host."""
        self.daemon_ended()
        self._close_left()
        for name in list(self.held):
            self.drop(name)

    def _close_left(self) -> None:
        for fds in self._left.values():
            for fd in fds:
                os.close(fd)
        self._left = {}
