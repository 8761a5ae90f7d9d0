# SPDX-License-Identifier: GPL-2.0-or-later
"""One output: who holds it, what it shows, and the one flip that is on its way.

Rules:

- One guest's connector holds an output, from its first SET_CONFIG to the end of its connection. The first
  one wins; another one's SET_CONFIG is refused with EBUSY and may be tried again.
- At most one commit is in flight. A guest's flip that meets one of our own refreshes waits for it; a second
  flip of the guest is refused with EBUSY.
- A dark output (switched off, no monitor, card gone) completes flips on a 60 Hz timer, so that a guest keeps
  running whatever happens to the screen.
- ``shown`` is called when the flip is on screen: by then the copy out of the guest's memory has ended, or
  the controller reads it, and no longer the one before.
- Each frame takes the best way that its memory has to this card (scanout/ladder.py). It is found when the frame
  is shown for the first time; a way that fails later is replaced by the next one.
- When the holder leaves, the output goes dark and its buffers are freed: no guest sees another's picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from xendisplback.errors import HostError
from xendisplback.host import Card
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status
from xendisplback.scanout.copier import Copier
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.frame import Crop, Frame
from xendisplback.scanout.ladder import COMMIT, CardFacts, Climb, Ladder, Step, Way
from xendisplback.scanout.modes import choose_mode
from xendisplback.scanout.pipe import Pipe
from xendisplback.scanout.screen import Screen

logger = logging.getLogger(__name__)

REQUEST_SECONDS = 2.5
"""For all that a request needs of a guest's memory. Linux gives it 3 s, then frees the grants."""
STUCK_SECONDS = 1.0
"""A commit whose flip event does not come within this time will not come: 20 Hz modes take 0.05 s."""


@dataclass(frozen=True, slots=True)
class _Flip:
    frame: Frame
    shown: Callable[[], None] | None
    """None for a refresh of our own."""


class Output:
    """Made by :class:`~xendisplback.scanout.outputs.Outputs`, in whose nursery its tasks run."""

    def __init__(
        self, pipe: Pipe, facts: CardFacts, nursery: trio.Nursery, refresh_rate: float
    ) -> None:
        self._pipe = pipe
        self.facts = facts
        self._nursery = nursery
        self._refresh_rate = refresh_rate
        self._copier = Copier()
        self._dark = DarkScreen(nursery)
        self._holder: object | None = None
        self._holder_name = ""
        self._screen: Screen | None = None
        self._frame: Frame | None = None
        self._ladder = Ladder(facts)
        self._in_flight: _Flip | None = None
        self._waiting: _Flip | None = None
        self._idle: trio.Event | None = None
        self._modeset = trio.Lock()
        """Held while a worker thread sets or ends the output's mode."""
        self._closed = trio.Event()
        """Not set while a screen that was taken off waits to be closed."""
        self._closed.set()
        self._attending: trio.CancelScope | None = None
        self._flips = 0
        self._copies = 0

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

    # Holding

    def claim(self, holder: object, holder_name: str) -> None:
        """Raises RequestError EBUSY while another one holds the output."""
        if self._holder is None:
            self._holder, self._holder_name = holder, holder_name
            self._flips = self._copies = 0
        elif self._holder is not holder:
            raise RequestError(Status.EBUSY, f"output {self.name} is held by {self._holder_name}")

    async def release(self) -> None:
        """Go dark and let another one claim."""
        await self.disable()
        logger.info(
            "%s: released by %s after %d flips; %d pictures were copied",
            *(self.name, self._holder_name, self._flips, self._copies),
        )
        self._holder, self._holder_name = None, ""

    # Configuration: slow, called from the holder's slow requests one at a time

    async def configure(self, frame: Frame, crop: Crop, ladder: Ladder) -> str:
        """Show ``crop`` of ``frame``; returns how and why so, for the log.

        Raises RequestError EINVAL where no mode or format fits, HostError where the card refuses.
        """
        await self.settle()
        # Nothing refreshes what is being configured.
        self._frame = None
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
                self._screen = Screen(self._pipe, mode, crop, self._copier)
            how = await self._light(frame, self._screen)
        except (HostError, RequestError):
            await self._darken()
            raise
        self._frame = frame
        if self._attending is None:
            self._attending = trio.CancelScope()
            self._nursery.start_soon(self._attend, self._attending)
        return f"{self.name} {mode}, {frame.layout.format.name}, {how}"

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

    async def disable(self) -> None:
        """Go dark. Every flip that was on its way has been answered by then."""
        await self.settle()
        self._frame = None
        await self._darken()

    async def forget(self, frame: Frame) -> None:
        """``frame``'s memory goes away, and no new flip names it: if it is on screen, go dark, as KMS does."""
        await self.settle()
        if frame is self._frame:
            await self.disable()
        elif self._screen is not None:
            await self._change(self._screen, partial(self._screen.forget, frame))

    async def _darken(self) -> None:
        screen = self._take_screen()
        if screen is not None:
            await self._close_screen(screen)

    def _take_screen(self) -> Screen | None:
        """Dark from now on, as far as flips are concerned; the screen is the caller's to close."""
        if self._attending is not None:
            self._attending.cancel()
            self._attending = None
        screen, self._screen = self._screen, None
        if screen is not None:
            self._closed = trio.Event()
        return screen

    async def _close_screen(self, screen: Screen) -> None:
        async with self._modeset:
            try:
                await trio.to_thread.run_sync(screen.close)
            except HostError as error:
                logger.warning("%s: could not be switched off: %s", self.name, error)
            finally:
                self._closed.set()

    async def settle(self) -> None:
        """Until nothing is in flight or being closed; :meth:`_attend` sees to it that this comes about."""
        # Nothing may be awaited after the last look: a refresh could start meanwhile.
        while True:
            if not self._closed.is_set():
                await self._closed.wait()
            elif self._in_flight is None:
                return
            else:
                if self._idle is None:
                    self._idle = trio.Event()
                await self._idle.wait()

    # Flips: on the hot path from here on, never blocking

    def shows(self, frame: Frame) -> bool:
        """Whether :meth:`flip` can show ``frame``; otherwise it takes a :meth:`configure`."""
        return self._screen is None or self._screen.path(frame) is not None

    def flip(self, frame: Frame, shown: Callable[[], None]) -> None:
        """Show ``frame`` and call ``shown`` then. Raises RequestError EBUSY, with no effect."""
        flip = _Flip(frame, shown)
        if self._in_flight is None:
            self._start(flip)
        elif self._in_flight.shown is None and self._waiting is None:
            self._waiting = flip
        else:
            raise RequestError(Status.EBUSY, "PG_FLIP before the previous flip was shown")

    def _start(self, flip: _Flip) -> None:
        self._in_flight = flip
        path = self._screen.path(flip.frame) if self._screen is not None else None
        if path is None:
            self._dark.flip(flip.frame, self._finish)
            return
        self._frame = flip.frame
        self._copies += path.copies
        errno = -path.flip()
        if errno:
            error = HostError("commit refused", call=COMMIT, errno=errno)
            self._nursery.start_soon(self._show_otherwise, flip, path.way.step, error)

    async def _show_otherwise(self, flip: _Flip, step: Step, error: HostError) -> None:
        """Task: the card refuses memory that it took before; show the frame by the next step."""
        screen, frame = self._screen, flip.frame
        if screen is None:
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
        else:
            if self._in_flight is flip:
                self._finish()

    def on_flip_event(self) -> None:
        """The card says that the commit in flight is on screen."""
        if self._screen is not None and self._in_flight is not None:
            path = self._screen.path(self._in_flight.frame)
            if path is not None:
                path.shown()
                self._finish()

    def _finish(self) -> None:
        flip, self._in_flight = self._in_flight, self._waiting
        self._waiting = None
        if self._in_flight is not None:
            self._start(self._in_flight)
        elif self._idle is not None:
            self._idle.set()
            self._idle = None
        if flip is not None and flip.shown is not None:
            self._flips += 1
            flip.shown()

    async def watch_copier(self) -> None:
        """Task: what the copier could not commit."""
        while True:
            await trio.lowlevel.wait_readable(self._copier.fd)
            errno = -self._copier.result()
            if errno:
                self.fail(HostError("commit refused", call=COMMIT, errno=errno))

    def fail(self, error: Exception) -> None:
        """The card refused a commit or is gone: go dark, let the guest run on, say so once."""
        screen = self._take_screen()
        if screen is not None:
            logger.error("%s: dark until its guest sets a mode again: %s", self.name, error)
            self._nursery.start_soon(self._fail, screen, self._in_flight)

    async def _fail(self, screen: Screen, flip: _Flip | None) -> None:
        """Task: the guest gets its event first; what the card says to being switched off may take long."""
        await trio.to_thread.run_sync(self._copier.wait)
        if flip is not None and self._in_flight is flip:
            self._finish()
        await self._close_screen(screen)

    async def _attend(self, scope: trio.CancelScope) -> None:
        """Task while lit: show the frame on screen again unless the guest flips, and miss lost flip events.

        A guest that flips wakes this task eight times less often than one that draws without flipping.
        """
        rate = self._refresh_rate
        flips, seen, since = -1, self._in_flight, trio.current_time()
        with scope:
            while True:
                period = 1 / rate if rate and self._refreshes else STUCK_SECONDS / 8
                await trio.sleep(period if flips == self._flips else 8 * period)
                quiet, flips = flips == self._flips, self._flips
                if self._in_flight is not seen:
                    seen, since = self._in_flight, trio.current_time()
                elif seen is not None and trio.current_time() - since > STUCK_SECONDS:
                    self.fail(HostError(f"no flip event within {STUCK_SECONDS:g} s"))
                elif seen is None and quiet and rate and self._refreshes:
                    self._start(_Flip(self._refreshes, None))

    @property
    def _refreshes(self) -> Frame | None:
        """The frame on screen, where what its guest draws into it is not seen by itself."""
        path = self._screen.path(self._frame) if self._screen and self._frame else None
        return self._frame if path and (path.copies or self._pipe.plane.shadowed) else None

    async def close(self) -> None:
        """Go dark and end the copier's thread."""
        await self.disable()
        await trio.to_thread.run_sync(self._copier.close)
