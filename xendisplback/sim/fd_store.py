# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd's file descriptor store. It outlives the daemon, not the host."""

from __future__ import annotations

import os
from collections.abc import Mapping


class SimFdStore:
    """Fulfils :class:`xendisplback.host.FdStore`; one for all daemons on a host, one after the other."""

    available = True

    def __init__(self) -> None:
        self.held: dict[str, list[int]] = {}
        self._left: dict[str, list[int]] = {}

    def keep(self, name: str, fd: int) -> None:
        self.held.setdefault(name, []).append(os.dup(fd))

    def drop(self, name: str) -> None:
        for fd in self.held.pop(name, ()):
            os.close(fd)

    def take(self) -> Mapping[str, list[int]]:
        left, self._left = self._left, {}
        return left

    def daemon_ended(self) -> None:
        """The next daemon gets copies of what is held."""
        self._left = {name: [os.dup(fd) for fd in fds] for name, fds in self.held.items()}

    def close(self) -> None:
        for name in list(self.held):
            self.drop(name)
        for fds in self._left.values():
            for fd in fds:
                os.close(fd)
