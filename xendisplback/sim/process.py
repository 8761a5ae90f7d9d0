# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as a process: the files that it has open, and what its end closes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress

from xendisplback.sim.mapping import memory_file


class OpenFile:
    """A file that everybody can copy and close by number, and of which we know whether it is open anywhere."""

    def __init__(self, length: int = 0) -> None:
        """With ``length`` bytes in it."""
        self.content = memory_file("sim-file", length)
        """The kernel's own; closed by :meth:`free`."""
        self.fd = os.open(f"/proc/self/fd/{self.content}", os.O_RDWR | os.O_CLOEXEC)
        # All that a kernel tells of other people's file descriptors: a lock goes with the last of them.
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    @property
    def open(self) -> bool:
        try:
            fcntl.flock(self.content, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        """The first descriptor. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def free(self) -> None:
        """Once, when nobody has it open."""
        os.close(self.content)


class Process:
    """What is closed when the daemon's process ends, however it ends."""

    def __init__(self) -> None:
        self._left: list[Callable[[], None]] = []

    def opened(self, close: Callable[[], None]) -> None:
        """``close`` is idempotent."""
        self._left.append(close)

    def opened_fd(self, fd: int) -> None:
        """Like :meth:`opened`, of a number that may have been closed and be another file's by then."""
        inode = os.fstat(fd).st_ino

        def close() -> None:
            with suppress(OSError):
                if os.fstat(fd).st_ino == inode:
                    os.close(fd)

        self._left.append(close)

    def end(self) -> None:
        while self._left:
            self._left.pop()()
