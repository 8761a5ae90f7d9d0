# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that claim to be active, and show nothing new for longer than their output allows."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import trio

from xendisplback.scanout.source import Source

LOOK_SECONDS = 0.25


async def watch_stalls(sources: Sequence[Source], scope: trio.CancelScope) -> None:
    """Task: until ``scope`` is cancelled. ``sources``: those that there are by now."""
    news: WeakKeyDictionary[Source, tuple[int, float]] = WeakKeyDictionary()
    with scope:
        while True:
            await trio.sleep(LOOK_SECONDS)
            for source in list(sources):
                if source.patience:
                    await _watch(source, news)


async def _watch(source: Source, news: WeakKeyDictionary[Source, tuple[int, float]]) -> None:
    """``news``: how many pictures each had shown, and since when."""
    if source.stalled:
        await source.look()
        return
    pictures, now = source.pictures, trio.current_time()
    if source not in news or news[source][0] != pictures:
        news[source] = (pictures, now)
    elif now - news[source][1] >= source.patience:
        await source.stall()
