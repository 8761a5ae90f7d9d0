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
from xendisplback.kms.mode import Mode
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
        self._modeset = trio.Lock()
        """Held while a worker thread sets or ends the output's mode."""
        self._attending: trio.CancelScope | None = None
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
        # Nothing refreshes what is being configured.
        self._frame = None
        if not self._pipe.connector.connected:
            await self._darken()
            return f"{self.name} has no monitor: dark, flips complete on a timer"
        mode = choose_mode(self._pipe.connector.modes, crop.width, crop.height)
        fourcc = choose_format(frame.layout.format, self._pipe.plane.formats, can_convert)
        path = self._path
        if path is not None and (path.mode, path.crop, path.fourcc) != (mode, crop, fourcc):
            await self._darken()
        try:
            await self._light(frame, mode, crop, fourcc)
        except HostError:
            await self._darken()
            raise
        conversion = "" if fourcc == frame.layout.format.fourcc else f" as {fourcc_name(fourcc)}"
        return f"{self.name} {mode}, {frame.layout.format.name}{conversion}, by copy"

    async def _light(self, frame: Frame, mode: Mode, crop: Crop, fourcc: int) -> None:
        async with self._modeset:
            if self._path is None:
                self._path = await trio.to_thread.run_sync(
                    CopyPath, self._pipe, mode, crop, fourcc, self._copier
                )
            await trio.to_thread.run_sync(self._path.light, frame)
        self._frame = frame
        if self._attending is None:
            self._attending = trio.CancelScope()
            self._nursery.start_soon(self._attend, self._attending)

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
        if self._path is not None:
            self._path.forget(frame)

    async def _darken(self) -> None:
        path = self._take_path()
        if path is not None:
            await self._close_path(path)

    def _take_path(self) -> CopyPath | None:
        """Dark from now on, as far as flips are concerned; the path is the caller's to close."""
        if self._attending is not None:
            self._attending.cancel()
            self._attending = None
        path, self._path = self._path, None
        return path

    async def _close_path(self, path: CopyPath) -> None:
        async with self._modeset:
            try:
                await trio.to_thread.run_sync(path.close)
            except HostError as error:
                logger.warning("%s: could not be switched off: %s", self.name, error)

    async def settle(self) -> None:
        """Until nothing is in flight; :meth:`_attend` sees to it that this comes about."""
        while self._busy:
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

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
                self.fail(HostError("commit refused", call="DRM_IOCTL_MODE_ATOMIC", errno=errno))

    def fail(self, error: HostError) -> None:
        """The card refused a commit or is gone: go dark, let the guest run on, say so once."""
        path = self._take_path()
        if path is not None:
            logger.error("%s: dark until its guest sets a mode again: %s", self.name, error)
            self._nursery.start_soon(self._fail, path, self._in_flight)

    async def _fail(self, path: CopyPath, flip: _Flip | None) -> None:
        """Task: the guest gets its event first; what the card says to being switched off may take long."""
        await trio.to_thread.run_sync(self._copier.wait)
        if flip is not None and self._in_flight is flip:
            self._finish()
        await self._close_path(path)

    async def _attend(self, scope: trio.CancelScope) -> None:
        """Task while lit: copy the frame on screen again unless the guest flips, and miss lost flip events.

        A guest that flips wakes this task eight times less often than one that draws without flipping.
        """
        rate = self._refresh_rate
        period = 1 / rate if rate else STUCK_SECONDS / 8
        flips, seen, since = -1, self._in_flight, trio.current_time()
        with scope:
            while True:
                await trio.sleep(period if flips == self._flips else 8 * period)
                quiet, flips = flips == self._flips, self._flips
                if self._in_flight is not seen:
                    seen, since = self._in_flight, trio.current_time()
                elif seen is not None and trio.current_time() - since > STUCK_SECONDS:
                    self.fail(HostError(f"no flip event within {STUCK_SECONDS:g} s"))
                elif seen is None and quiet and rate and self._frame and self._path:
                    self._start(_Flip(self._frame, None))

    async def close(self) -> None:
        """Go dark and end the copier's thread."""
        await self.disable()
        await trio.to_thread.run_sync(self._copier.close)
