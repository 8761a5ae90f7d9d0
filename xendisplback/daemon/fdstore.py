# SPDX-License-Identifier: GPL-2.0-or-later
"""systemd's file descriptor store: what stays open when this process ends, by name (sd_pid_notify_with_fds(3)).

It holds as long as the service is restarted, also after a crash or SIGKILL; ``systemctl stop`` empties it. The
unit must allow it with ``FileDescriptorStoreMax=``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from xendisplback.daemon.notify import notify

FIRST_FD = 3
"""SD_LISTEN_FDS_START."""


class SystemdFdStore:
    """Fulfils :class:`xendisplback.host.FdStore`."""

    @property
    def available(self) -> bool:
        """Whether systemd runs us; whether it holds anything it does not tell."""
        return bool(os.environ.get("NOTIFY_SOCKET"))

    def keep(self, name: str, fd: int) -> None:
        notify(f"FDSTORE=1\nFDNAME={name}", [fd])

    def drop(self, name: str) -> None:
        notify(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def take(self) -> Mapping[str, list[int]]:
        names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
        count = int(os.environ.pop("LISTEN_FDS", "0"))
        if os.environ.pop("LISTEN_PID", "") != str(os.getpid()):
            return {}
        held: dict[str, list[int]] = {}
        for name, fd in zip(names, range(FIRST_FD, FIRST_FD + count), strict=True):
            os.set_inheritable(fd, False)
            held.setdefault(name, []).append(fd)
        return held
