# SPDX-License-Identifier: GPL-2.0-or-later
"""One output: who holds it, what it shows, and by which way.

Rules:

- One guest's connector holds an output, from its first SET_CONFIG to the end of its connection. The first
  one wins; another one's SET_CONFIG is refused with EBUSY and may be tried again.
- Flips are C's (scanout/flips.py), as long as they need nothing new. Whatever is done here is done with flips
  paused and none on its way: a guest's flip meanwhile comes as a slow request and waits its turn.
- A dark output (switched off, no monitor, card gone) shows no flips: the channel completes them on a timer, so
  that a guest keeps running whatever happens to the screen.
- Each frame takes the best way that its memory has to this card (scanout/ladder.py). It is found when the frame
  is shown for the first time; a way that fails later is replaced by the next one.
- When the holder leaves, the output goes dark and its buffers are freed: no guest sees another's picture.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from xendisplback.errors import HostError
from xendisplback.host import Card
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status
from xendisplback.scanout.flips import FlipTarget, OutputFlips
from xendisplback.scanout.frame import Crop, Frame
from xendisplback.scanout.ladder import CardFacts, Climb, Ladder, Step, Way
from xendisplback.scanout.modes import choose_mode
from xendisplback.scanout.pipe import Pipe
from xendisplback.scanout.screen import Screen

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 2.5
"""For all that a request needs of a guest's memory. Linux gives it 3 s, then frees the grants."""


class Output:
    """Made by :class:`~xendisplback.scanout.outputs.Outputs`, in whose nursery its tasks run."""

    def __init__(
        self, pipe: Pipe, facts: CardFacts, nursery: trio.Nursery, refresh_rate: float
    ) -> None:
        self._pipe = pipe
        self.facts = facts
        self._nursery = nursery
        self.flips = OutputFlips(refresh_rate)
        self._holder: FlipTarget | None = None
        self._holder_name = ""
        self._screen: Screen | None = None
        self._ladder = Ladder(facts)
        self._modeset = trio.Lock()
        """Held while a worker thread sets or ends the output's mode."""
        self._closed = trio.Event()
        """Not set while a screen that was taken off waits to be closed."""
        self._closed.set()

    @property
    def name(self) -> str:
        return self._pipe.connector.name

    @property
    def card(self) -> Card:
        return self._pipe.card

    @property
    def crtc_id(self) -> int:
        return self._pipe.crtc.id

    @property
    def edid(self) -> bytes:
        return self._pipe.connector.edid

    @property
    def dark(self) -> bool:
        """Nothing is shown, and no flip is."""
        return self._screen is None

    # Holding

    @property
    def held(self) -> bool:
        return self._holder is not None

    def claim(self, holder: FlipTarget, holder_name: str) -> None:
        """Flip events are for ``holder`` now. Raises RequestError EBUSY while another one holds the output."""
        if self._holder is None:
            self._holder, self._holder_name = holder, holder_name
            self.flips.attach(holder)
        elif self._holder is not holder:
            raise RequestError(Status.EBUSY, f"output {self.name} is held by {self._holder_name}")

    async def release(self) -> None:
        """Go dark and let another one claim. The holder's thread has ended."""
        try:
            await self.disable()
        finally:
            logger.info(
                "%s: released by %s after %d flips; %d pictures were copied",
                *(self.name, self._holder_name, self.flips.flips, self.flips.copies),
            )
            # Whatever failed: the holder's rings go away now.
            self.flips.attach(None)
            self._holder, self._holder_name = None, ""

    # What is shown: slow, called from the holder's slow requests one at a time

    async def configure(self, frame: Frame, crop: Crop, ladder: Ladder) -> str:
        """Show ``crop`` of ``frame``; returns how and why so, for the log.

        Raises RequestError EINVAL where no mode or format fits, HostError where the card refuses.
        """
        async with self._still():
            self._ladder = ladder
            if not self._pipe.connector.connected:
                await self._darken()
                return f"{self.name} has no monitor: dark, flips complete on a timer"
            mode = choose_mode(self._pipe.connector.modes, crop.width, crop.height)
            screen = self._screen
            if screen is not None and (screen.mode, screen.crop) != (mode, crop):
                await self._darken()
            try:
                if self._screen is None:
                    self._screen = Screen(self._pipe, mode, crop, self.flips)
                how = await self._light(frame, self._screen)
            except (HostError, RequestError):
                await self._darken()
                raise
            return f"{self.name} {mode}, {frame.layout.format.name}, {how}"

    async def show_otherwise(self, frame: Frame, error: HostError) -> None:
        """The card refused a flip to ``frame``, which it showed before: show it by the next step, or go dark."""
        async with self._still():
            screen = self._screen
            path = screen.path(frame) if screen is not None else None
            if screen is None or path is None:
                return
            step = path.way.step
            if step is Step.COPY:
                self.fail(error)
                return
            try:
                climb = self._climb(frame, screen)
                # Another frame's refusal may have been learnt already.
                if climb.step is step:
                    climb.refuse(error)
                logger.warning("%s: %s", self.name, await self._show(frame, screen, climb))
                await frame.memory.drop(step)
            except (HostError, RequestError) as last:
                self.fail(last)

    async def disable(self) -> None:
        """Go dark. Every flip that was on its way has had its event by then."""
        async with self._still():
            await self._darken()

    async def forget(self, frame: Frame) -> None:
        """``frame``'s memory goes away, and no new flip names it: if it is on screen, go dark, as KMS does."""
        async with self._still():
            screen = self._screen
            if screen is None:
                return
            if screen.shows(frame):
                await self._darken()
            else:
                await self._change(screen, partial(screen.forget, frame))

    @asynccontextmanager
    async def _still(self) -> AsyncGenerator[None, None]:
        """Nothing is on its way, being closed, or begun."""
        self.flips.pause()
        try:
            while True:
                if not self._closed.is_set():
                    await self._closed.wait()
                elif self.flips.wait(0) or await trio.to_thread.run_sync(
                    self.flips.wait, self.flips.stuck_seconds
                ):
                    break
                else:
                    self.fail_stuck()
            yield
        finally:
            self.flips.resume()

    async def _light(self, frame: Frame, screen: Screen) -> str:
        path = screen.path(frame)
        if path is None:
            return await self._show(frame, screen, self._climb(frame, screen))
        await self._change(screen, partial(screen.show_again, frame))
        return path.way.how

    def _climb(self, frame: Frame, screen: Screen) -> Climb:
        picture = (frame.layout, screen.crop, screen.mode)
        memory = frame.memory
        return self._ladder.climb(memory.steps, memory.shape, picture, memory.refused)

    async def _show(self, frame: Frame, screen: Screen, climb: Climb) -> str:
        """Show ``frame`` by the first step that the card takes; returns which, and what refused the others."""
        deadline = trio.current_time() + REQUEST_SECONDS
        while True:
            way = climb.way
            try:
                await self._try(frame, screen, way, deadline)
            except HostError as error:
                await frame.memory.drop(way.step)
                climb.refuse(error)
            else:
                return way.how

    async def _try(self, frame: Frame, screen: Screen, way: Way, deadline: float) -> None:
        if way.step is Step.COPY:
            address = await frame.memory.address(deadline)
            await self._change(screen, partial(screen.show_by_copy, frame, address, way))
            return
        lease = await frame.memory.dmabuf(way.step, deadline)
        try:
            await self._change(screen, partial(screen.show_directly, frame, lease, way))
        except BaseException:
            lease.release()
            raise

    async def _change(self, screen: Screen, change: Callable[[], None]) -> None:
        """Call a method of ``screen`` in a worker thread, unless it was switched off meanwhile."""
        async with self._modeset:
            if screen is not self._screen:
                raise HostError(f"{self.name} was switched off")
            await trio.to_thread.run_sync(change)

    async def _darken(self) -> None:
        screen = self._take_screen()
        if screen is not None:
            await self._close_screen(screen)

    def _take_screen(self) -> Screen | None:
        """Dark from now on, as far as flips are concerned; the screen is the caller's to close."""
        screen, self._screen = self._screen, None
        if screen is not None:
            self.flips.stop()
            self._closed = trio.Event()
        return screen

    async def _close_screen(self, screen: Screen) -> None:
        """After the flip that was on its way got its event: being switched off may take a card long."""
        # A screen that was taken is nobody's but ours: a guest that leaves must not cut this short.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.flips.abandon)
            async with self._modeset:
                try:
                    await trio.to_thread.run_sync(screen.close)
                except HostError as error:
                    logger.warning("%s: could not be switched off: %s", self.name, error)
                finally:
                    self._closed.set()

    def fail_stuck(self) -> None:
        """The card did not say that a flip is on screen."""
        self.fail(HostError(f"no flip event within {self.flips.stuck_seconds:g} s"))

    def fail(self, error: Exception) -> None:
        """The card refused a commit or is gone: go dark, let the guest run on, say so once."""
        screen = self._take_screen()
        if screen is not None:
            logger.error("%s: dark until its guest sets a mode again: %s", self.name, error)
            self._nursery.start_soon(self._close_screen, screen)
