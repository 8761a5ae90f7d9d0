# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds the way of each frame of one guest's connector to each output, and shows it by that.

:mod:`~xendisplback.scanout.ladder` decides which way is tried next.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from xendisplback.errors import GONE, HostError
from xendisplback.scanout.frame import Frame
from xendisplback.scanout.ladder import CardFacts, Climb, Ladder, Refusal, Step
from xendisplback.scanout.view import View

if TYPE_CHECKING:
    from xendisplback.scanout.output import Output, Spot
    from xendisplback.scanout.source import Source

REQUEST_SECONDS: Final = 2.5
"""For all that a request needs of a guest's memory. Linux gives it 3 s, then frees the grants."""

NOT_OURS: Final = GONE | {errno.EFAULT, errno.EACCES}
"""The card is gone (EFAULT: its memory vanished under a copy), or another process is its master."""


class Ways:
    def __init__(self) -> None:
        self._ladders: dict[CardFacts, Ladder] = {}

    def ladder(self, output: Output) -> Ladder:
        return self._ladders.setdefault(output.facts, Ladder(output.facts))

    async def show(self, source: Source, spot: Spot, view: View, frame: Frame) -> int:
        """By the way that it has there, or the best one. As :meth:`View.show_again`; also RequestError, Dark."""
        if view.way(frame) is None:
            return await self._climb_up(source, spot, view, frame, self._climb(spot, view, frame))
        try:
            show = partial(view.show_again, frame, source.scanout.side)
            return await spot.output.show(source, view, show)
        except HostError as error:
            return await self.next(source, spot, view, frame, error)

    async def next(
        self, source: Source, spot: Spot, view: View, frame: Frame, error: HostError
    ) -> int:
        """The way that ``frame`` has there was refused. Raises ``error`` where there is no other one."""
        way = view.way(frame)
        if way is None or way.step is Step.COPY or spot.output.unusable or error.errno in NOT_OURS:
            raise error
        climb = self._climb(spot, view, frame)
        # Another frame's refusal may have been learnt already.
        if climb.step is way.step:
            climb.refuse(error)
        digest = await self._climb_up(source, spot, view, frame, climb)
        await frame.memory.drop(way.step)
        return digest

    def _climb(self, spot: Spot, view: View, frame: Frame) -> Climb:
        picture = (frame.layout, view.crop, view.place)
        memory = frame.memory
        steps, refused = memory.steps, list(memory.refused)
        if view.refusal is not None:
            refused += [
                Refusal(step, None, None, view.refusal) for step in steps if step is not Step.COPY
            ]
            steps = [Step.COPY]
        return self.ladder(spot.output).climb(steps, memory.shape, picture, refused)

    async def _climb_up(
        self, source: Source, spot: Spot, view: View, frame: Frame, climb: Climb
    ) -> int:
        """Show ``frame`` by the first step that the card takes."""
        deadline = trio.current_time() + REQUEST_SECONDS
        memory, side, output = frame.memory, source.scanout.side, spot.output
        while True:
            way = climb.way
            try:
                if way.step is Step.COPY:
                    address = await memory.address(deadline)
                    show = partial(view.show_by_copy, frame, address, way, side)
                    return await output.show(source, view, show)
                lease = await memory.dmabuf(way.step, deadline)
                try:
                    show = partial(view.show_directly, frame, lease, way, side)
                    return await output.show(source, view, show)
                except BaseException:
                    lease.release()
                    raise
            except HostError as error:
                await memory.drop(way.step)
                climb.refuse(error)
