# SPDX-License-Identifier: GPL-2.0-or-later
"""What completes a guest's flips where nothing can be shown: a 60 Hz timer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import trio

from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status

PERIOD: Final = 1 / 60


def too_early() -> RequestError:
    """What a second flip gets while one is on its way, on a lit screen too."""
    return RequestError(Status.EBUSY, "PG_FLIP before the previous flip was shown")


class DarkScreen:
    """A screen that is off. Its timer's tasks run in ``nursery``, and only while a flip is on its way."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._idle: trio.Event | None = None

    def flip(self, shown: Callable[[], None]) -> None:
        """Call ``shown`` at the next tick. Raises RequestError EBUSY while one is on its way."""
        if self._idle is not None:
            raise too_early()
        self._idle = trio.Event()
        self._nursery.start_soon(self._tick, self._idle, shown)

    async def _tick(self, idle: trio.Event, shown: Callable[[], None]) -> None:
        # Ticks of one common clock: a guest can't gain a frame by flipping just after a tick.
        await trio.sleep_until((math.floor(trio.current_time() / PERIOD) + 1) * PERIOD)
        self._idle = None
        shown()
        idle.set()

    async def settle(self) -> None:
        """Until no flip is on its way: each has its event before SET_CONFIG is answered."""
        if self._idle is not None:
            await self._idle.wait()
