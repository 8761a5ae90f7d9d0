# SPDX-License-Identifier: GPL-2.0-or-later
"""One output: who holds it, what it shows, and the one flip that is on its way.

Rules:

- One guest's connector holds an output, from its first SET_CONFIG to the end of its connection. The first
  one wins; another one's SET_CONFIG is refused with EBUSY and may be tried again.
- At most one commit is in flight. A guest's flip that meets one of our own refreshes waits for it; a second
  flip of the guest is refused with EBUSY.
- A dark output (switched off, no monitor, card gone) completes flips on a 60 Hz timer, so that a guest keeps
  running whatever happens to the screen.
- ``shown`` is called when the flip is on screen: by then the copy out of the guest's memory has ended.
- When the holder leaves, the output goes dark and its buffers are freed: no guest sees another's picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import trio

from xendisplback.errors import HostError
from xendisplback.host import Card
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.formats import fourcc_name
from xendisplback.protocol.status import Status
from xendisplback.scanout.copier import Copier, can_convert
from xendisplback.scanout.copy_path import CopyPath, Crop, Pipe
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.frame import Frame
from xendisplback.scanout.modes import choose_format, choose_mode

logger = logging.getLogger(__name__)

STUCK_SECONDS = 1.0
"""A commit whose flip event does not come within this time will not come: 20 Hz modes take 0.05 s."""


@dataclass(frozen=True, slots=True)
class _Flip:
    frame: Frame
    shown: Callable[[], None] | None
    """None for a refresh of our own."""


class Output:
    """Made by :class:`~xendisplback.scanout.outputs.Outputs`, in whose nursery its tasks run."""

    def __init__(self, pipe: Pipe, nursery: trio.Nursery, refresh_rate: float) -> None:
        self._pipe = pipe
        self._nursery = nursery
        self._refresh_rate = refresh_rate
        self._copier = Copier()
        self._dark = DarkScreen(nursery)
        self._holder: object | None = None
        self._holder_name = ""
        self._path: CopyPath | None = None
        self._frame: Frame | None = None
        self._in_flight: _Flip | None = None
        self._waiting: _Flip | None = None
        self._idle: trio.Event | None = None
        self._refresh_scope: trio.CancelScope | None = None
        self._flips = 0

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
        elif self._holder is not holder:
            raise RequestError(Status.EBUSY, f"output {self.name} is held by {self._holder_name}")

    async def release(self) -> None:
        """Go dark and let another one claim."""
        await self.disable()
        self._holder, self._holder_name = None, ""

    # Configuration: slow, called from the holder's slow requests one at a time

    async def configure(self, frame: Frame, crop: Crop) -> str:
        """Show ``crop`` of ``frame``; returns how, for the log. Flips in flight have ended by then.

        Raises RequestError EINVAL where no mode or format fits, HostError where the card refuses.
        """
        await self.settle()
        self._frame = frame
        if not self._pipe.connector.connected:
            await self._darken()
            return f"{self.name} has no monitor: dark, flips complete on a timer"
        mode = choose_mode(self._pipe.connector.modes, crop.width, crop.height)
        fourcc = choose_format(frame.layout.format, self._pipe.plane.formats, can_convert)
        path = self._path
        if path is None or (path.mode, path.crop, path.fourcc) != (mode, crop, fourcc):
            await self._darken()
            path = await trio.to_thread.run_sync(
                CopyPath, self._pipe, mode, crop, fourcc, self._copier
            )
            self._path = path
        try:
            await trio.to_thread.run_sync(path.light, frame)
        except HostError:
            await self._darken()
            raise
        self._start_refreshing()
        conversion = "" if fourcc == frame.layout.format.fourcc else f" as {fourcc_name(fourcc)}"
        return f"{self.name} {mode}, {frame.layout.format.name}{conversion}, by copy"

    async def disable(self) -> None:
        """Go dark. Every flip that was on its way has been answered by then."""
        await self.settle()
        self._frame = None
        await self._darken()

    async def forget(self, frame: Frame) -> None:
        """``frame``'s memory goes away: if it is on screen, go dark first, as KMS does."""
        if frame is self._frame:
            await self.disable()
        else:
            await self.settle()
        if self._path is not None:
            self._path.forget(frame)

    async def _darken(self) -> None:
        if self._refresh_scope is not None:
            self._refresh_scope.cancel()
            self._refresh_scope = None
        path, self._path = self._path, None
        if path is not None:
            try:
                await trio.to_thread.run_sync(path.close)
            except HostError as error:
                logger.warning("%s: could not be switched off: %s", self.name, error)

    async def settle(self) -> None:
        """Until nothing is in flight."""
        if not self._busy:
            return
        self._idle = trio.Event()
        with trio.move_on_after(STUCK_SECONDS):
            await self._idle.wait()
        while self._busy:
            logger.error("%s: no flip event within %g s", self.name, STUCK_SECONDS)
            await trio.to_thread.run_sync(self._copier.wait)
            self._finish()
        self._idle = None

    @property
    def _busy(self) -> bool:
        return self._in_flight is not None

    # Flips: on the hot path from here on, never blocking

    def shows(self, frame: Frame) -> bool:
        """Whether :meth:`flip` can show ``frame``; otherwise it takes a :meth:`configure`."""
        return self._path is None or self._path.shows(frame)

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
        if self._path is None:
            self._dark.flip(flip.frame, self._finish)
        else:
            self._frame = flip.frame
            self._path.flip(flip.frame)

    def on_flip_event(self) -> None:
        """The card says that the commit in flight is on screen."""
        if self._path is not None and self._in_flight is not None:
            self._path.shown()
            self._finish()

    def _finish(self) -> None:
        flip, self._in_flight = self._in_flight, self._waiting
        self._waiting = None
        if self._in_flight is not None:
            self._start(self._in_flight)
        elif self._idle is not None:
            self._idle.set()
        if flip is not None and flip.shown is not None:
            self._flips += 1
            flip.shown()

    async def watch_copier(self) -> None:
        """Task: what the copier could not commit."""
        while True:
            await trio.lowlevel.wait_readable(self._copier.fd)
            errno = -self._copier.result()
            if errno and self._in_flight is not None:
                self.fail(HostError("commit refused", call="DRM_IOCTL_MODE_ATOMIC", errno=errno))

    def fail(self, error: HostError) -> None:
        """The card refused a commit or is gone: go dark, let the guest run on, say so once."""
        logger.error("%s: dark until its guest sets a mode again: %s", self.name, error)
        self._nursery.start_soon(self._fail)

    async def _fail(self) -> None:
        await trio.to_thread.run_sync(self._copier.wait)
        await self._darken()
        if self._in_flight is not None:
            self._finish()

    # Guests that draw into the visible buffer send no flips

    def _start_refreshing(self) -> None:
        if self._refresh_rate and self._refresh_scope is None:
            self._refresh_scope = trio.CancelScope()
            self._nursery.start_soon(self._refresh, self._refresh_scope)

    async def _refresh(self, scope: trio.CancelScope) -> None:
        """Task while lit: copy the frame on screen again, unless the guest flips.

        A guest that flips wakes this task eight times less often than one that doesn't.
        """
        period, flips = 1 / self._refresh_rate, -1
        with scope:
            while True:
                await trio.sleep(period if flips == self._flips else 8 * period)
                quiet, flips = flips == self._flips, self._flips
                if quiet and self._in_flight is None and self._frame and self._path:
                    self._start(_Flip(self._frame, None))

    async def close(self) -> None:
        """Go dark and end the copier's thread."""
        await self.disable()
        await trio.to_thread.run_sync(self._copier.close)
