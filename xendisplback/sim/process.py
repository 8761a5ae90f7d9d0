# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon as a process: the files that it has open, and what its end closes."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress


class OpenFile:
    """A file that everybody can copy and close by number, and of which we know whether it is open anywhere."""

    def __init__(self) -> None:
        # All that a kernel tells of other people's file descriptors: a pipe hangs up with its last writer.
        self._watched, self.fd = os.pipe2(os.O_CLOEXEC)
        self._hangup = select.poll()
        self._hangup.register(self._watched, 0)

    @property
    def open(self) -> bool:
        """False once, then not to be asked again."""
        if not self._hangup.poll(0):
            return True
        os.close(self._watched)
        return False

    def close(self) -> None:
        """Our own copy. Idempotent."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


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
