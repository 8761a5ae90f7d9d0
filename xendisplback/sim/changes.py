# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's uevents about displays, from any thread to the daemon's."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncGenerator

import trio

from xendisplback.host import DisplayChange


class ChangeListener:
    """A netlink socket's stand-in."""

    def __init__(self) -> None:
        self._changes: deque[DisplayChange] = deque()
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def tell(self, change: DisplayChange) -> None:
        """From any thread."""
        self._changes.append(change)
        os.eventfd_write(self._fd, 1)

    async def changes(self) -> AsyncGenerator[DisplayChange, None]:
        while True:
            await trio.lowlevel.wait_readable(self._fd)
            os.eventfd_read(self._fd)
            while self._changes:
                yield self._changes.popleft()

    def close(self) -> None:
        os.close(self._fd)
