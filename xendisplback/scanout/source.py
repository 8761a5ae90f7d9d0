# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest's connector: what it wants shown, on whatever outputs it is.

Rules:

- Flips are C's (scanout/flips.py), as long as they need nothing new. Whatever is done here is done with flips
  paused and none on its way: a guest's flip meanwhile comes as a slow request and waits its turn.
- What the guest wants is kept apart from where it is shown. Outputs come and go, and operators move guests about;
  the guest notices nothing: its latest frame is shown wherever it belongs by now.
- Shown nowhere, its flips are completed by a timer, so that a guest keeps running whatever happens to a screen.
- Each frame takes the best way that its memory has to each output (scanout/ladder.py). It is found when the frame
  is shown there for the first time; a way that fails later is replaced by the next one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from xendisplback.errors import HostError
from xendisplback.protocol.edid import made_edid
from xendisplback.protocol.errors import RequestError
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.flips import STUCK_SECONDS, FlipPath, Scanout
from xendisplback.scanout.frame import Crop, Frame
from xendisplback.scanout.ladder import Ladder
from xendisplback.scanout.layout import GuestName
from xendisplback.scanout.output import Dark, Output, Spot
from xendisplback.scanout.permission import Permission
from xendisplback.scanout.view import View
from xendisplback.scanout.ways import NOT_OURS, Ways

if TYPE_CHECKING:
    from xendisplback.scanout.outputs import Outputs

SourceLog = logging.LoggerAdapter[logging.Logger]


class Source:
    def __init__(
        self,
        name: GuestName,
        unique_id: str,
        permission: Permission,
        refresh_rate: float,
        places: Outputs,
        dark: DarkScreen,
        log: SourceLog,
    ) -> None:
        """``unique_id``: the place that the toolstack named. Raises HostError."""
        self.name = name
        self.unique_id = unique_id
        self.permission = permission
        self.scanout = Scanout(refresh_rate)
        self.stalled = False
        """It claims to be active, but nothing new came for as long as its output allows."""
        self.stalls = 0
        """How often that was found."""
        self.how = ""
        """How it is shown and why so, for the operator."""
        self._places = places
        self._dark = dark
        self._log = log
        self._lock = trio.Lock()
        self._frame: Frame | None = None
        """What the guest wants shown, as far as Python was told; None: nothing."""
        self._crop: Crop | None = None
        self._views: dict[Output, tuple[Spot, View]] = {}
        """Where it is on screen; in the order of the C path's parts."""
        self._paths: dict[Frame, FlipPath] = {}
        self._endings: list[trio.Event] = []
        self._ways = Ways()
        self._claimed = False
        self._own_pictures = 0
        """Pictures that Python's commits showed."""
        self._look: CopyJob | None = None
        self._looked = 0
        """While it is stalled: what of it is read, and the digest of that."""

    def __str__(self) -> str:
        return str(self.name)

    @property
    def crop(self) -> Crop | None:
        """What the last SET_CONFIG asked to show."""
        return self._crop

    @property
    def wanted(self) -> tuple[Frame | None, Crop | None]:
        """What the guest wants shown, as far as Python was told: C may have flipped since."""
        return self._frame, self._crop

    @property
    def active(self) -> bool:
        """The guest wants something shown."""
        return self._frame is not None

    @property
    def shown(self) -> bool:
        """Somewhere."""
        return bool(self._views)

    @property
    def claimed(self) -> bool:
        """Its places are its own, from the guest's first SET_CONFIG on."""
        return self._claimed

    @property
    def patience(self) -> float:
        """For how many seconds nothing new may come; 0: for ever, or nothing is shown."""
        outputs = [spot.output for spot in self._places.spots(self)] if self.active else []
        allowed = [o.layout.stalled_after for o in outputs if o.layout.stalled_after]
        return min(allowed, default=0) if self._views or self.stalled else 0

    @property
    def pictures(self) -> int:
        """Grows with each flip, and with each picture that was drawn otherwise and seen."""
        return self.scanout.pictures + self._own_pictures

    def shown_on(self, output: Output) -> bool:
        return output in self._views

    def ladder(self, output: Output) -> Ladder:
        """What is known of the ways to that output's card."""
        return self._ways.ladder(output)

    @property
    def outputs(self) -> list[Output]:
        """Where its frames are likely to be shown, by now."""
        return [spot.output for spot in self._places.spots(self)]

    # What the guest asks; one at a time

    async def configure(self, frame: Frame, crop: Crop) -> None:
        """Show ``crop`` of ``frame``.

        Raises RequestError: EBUSY while another guest has the place, EINVAL where no mode or format fits;
        HostError where the card refuses.
        """
        await self._places.opened()
        self._places.claim(self)
        self._claimed = True
        await self._dark.settle()
        async with self._still():
            self._frame, self._crop = frame, crop
            for output in self.outputs:
                output.retry()
            try:
                await self._show()
            except (HostError, RequestError):
                self._frame = None
                raise

    def flip_in_the_dark(self, frame: Frame, done: Callable[[], None]) -> bool:
        """Whether ``frame`` is shown nowhere, and ``done`` is called at the next tick.

        Raises RequestError EBUSY while a flip is on its way.
        """
        if self._views or self.stalled:
            return False
        self._dark.flip(done)
        if self._frame is not None:
            self._frame = frame
        return True

    async def flip(self, frame: Frame) -> None:
        """Show ``frame``, which takes more than C has. As :meth:`configure`, which came before."""
        async with self._still():
            self._frame = frame
            await self._show()

    async def disable(self) -> None:
        """Show nothing. Every flip that was on its way has had its event by then."""
        await self._dark.settle()
        async with self._still():
            self._frame, self.stalled = None, False
            # What comes next is said, though it may be as before.
            self.how = ""
            await self._hide()

    async def forget(self, frame: Frame) -> None:
        """``frame``'s memory goes away, and no new flip names it: if it is on screen, go dark, as KMS does."""
        async with self._still():
            if self._frame is frame:
                self._frame = None
                await self._hide()
            path = self._paths.pop(frame, None)
            if path is not None:
                self.scanout.remove(path)
            for output, (_, view) in list(self._views.items()):
                await output.forget(self, view, frame)
            self._look = None
        await self._ended()

    async def release(self) -> None:
        """The guest is gone, and its threads have ended: off every output."""
        try:
            async with self._still():
                self._frame = None
                await self._hide()
            await self._ended()
        finally:
            self._places.leave(self)

    async def edid(self, width: int, height: int) -> bytes:
        """Of its output; made for ``width`` x ``height`` where that has none. Raises HostError."""
        for output in self.outputs:
            edid = await output.edid()
            if edid:
                return edid
        return made_edid(width, height)

    # What cards, monitors and operators do to it

    async def show_otherwise(self, frame: Frame, error: HostError) -> None:
        """Cards refused a flip to ``frame``, which they showed before: show it by the next step, or not there."""
        refused = self.scanout.refused
        async with self._still():
            self._frame = frame
            for number, (output, (spot, view)) in enumerate(list(self._views.items())):
                if not refused >> number & 1:
                    continue
                try:
                    await self._ways.next(self, spot, view, frame, error)
                except Dark:
                    await self._hide_on(output)
                except (HostError, RequestError) as last:
                    await self._lose(output, last)
            await self._reshow()

    async def refresh_refused(self, error: HostError) -> None:
        """Cards refused a refresh: not there any more."""
        refused = self.scanout.refused
        async with self._still():
            for number, output in enumerate(list(self._views)):
                if refused >> number & 1:
                    await self._lose(output, error)
            await self._reshow()

    async def give_up(self) -> None:
        """Cards do not say that a flip is on screen: not there any more."""
        async with self._still(patience=0):
            await self._reshow()

    async def leave(self, output: Output) -> None:
        """``output`` shows nothing of it from now on."""
        async with self._still():
            if output in self._views:
                await self._hide_on(output)
                await self._reshow()

    async def reshow(self) -> None:
        """Places or outputs have changed: off those that are not its own any more, and onto the others."""
        async with self._still():
            await self._reshow()

    async def withdraw(self) -> None:
        """Places have changed: off those that are not its own any more."""
        async with self._still():
            await self._hide(keep=self._places.spots(self))

    async def stall(self) -> None:
        """Nothing came for too long: its outputs show something else until it flips or draws."""
        async with self._still():
            self._log.warning(
                "stalled: nothing new for %g s; its screens show their safe pictures", self.patience
            )
            self.stalls += 1
            path = self._paths.get(self._frame) if self._frame is not None else None
            self._look = path.look if path is not None else None
            if self._look is not None:
                self._looked = await trio.to_thread.run_sync(self._look.digest)
            self.stalled = True
            await self._hide()

    async def look(self) -> None:
        """While it is stalled: show it again if it has drawn into a buffer that we read anyway."""
        async with self._still():
            if not self.stalled or self._look is None:
                return
            if await trio.to_thread.run_sync(self._look.digest) != self._looked:
                await self._show_unasked()

    # How

    @asynccontextmanager
    async def _still(self, patience: float = STUCK_SECONDS) -> AsyncGenerator[None, None]:
        """Nothing of it is on its way or begun, and :attr:`_frame` is what it showed last.

        ``patience``: seconds until cards that do not say that a flip is on screen are given up.
        """
        scanout = self.scanout
        async with self._lock:
            scanout.pause()
            try:
                if not scanout.wait(0) and not await trio.to_thread.run_sync(
                    scanout.wait, patience
                ):
                    await self._abandon()
                self._remember()
                yield
            finally:
                scanout.resume()

    async def _abandon(self) -> None:
        """Cards do not say that a flip is on screen."""
        awaited, outputs = self.scanout.awaited, list(self._views)
        self._remember()
        self.scanout.stop()
        self._paths = {}
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self.scanout.abandon)
        for number, output in enumerate(outputs):
            if awaited >> number & 1:
                await self._lose(output, HostError(f"no flip event within {STUCK_SECONDS:g} s"))

    def _remember(self) -> None:
        for frame, path in self._paths.items():
            if self.scanout.shows(path):
                self._frame = frame

    async def _reshow(self) -> None:
        """As :meth:`_show`, unless it is off or stalled; what fails is logged."""
        if self._frame is not None and not self.stalled:
            await self._show_unasked()

    async def _show_unasked(self) -> None:
        try:
            await self._show()
        except (HostError, RequestError) as error:
            self._say(str(error), dark=True)

    def _say(self, how: str, *, dark: bool) -> None:
        """Log how it is shown, when that changes."""
        if how != self.how:
            self.how = how
            if dark:
                self._log.warning("shown nowhere: %s", how)
            else:
                self._log.info("shown on %s", how)

    async def _show(self) -> None:
        """Show what the guest wants at all of its places, and nowhere else.

        Raises RequestError and HostError where that failed everywhere.
        """
        shown: Frame | None = None
        # While it is dark, flips on the timer may bring a later frame meanwhile.
        while self._frame is not None and self._frame is not shown:
            shown = self._frame
            await self._show_frame(shown)

    async def _show_frame(self, frame: Frame) -> None:
        spots = self._places.spots(self)
        await self._hide(keep=spots)
        hows: list[str] = []
        errors: list[HostError | RequestError] = []
        digest = 0
        for spot in spots:
            try:
                how, read = await self._show_on(spot, frame)
                hows.append(how)
                digest = digest or read
            except Dark as dark:
                hows.append(f"{spot} is dark: {dark}")
            except (HostError, RequestError) as error:
                errors.append(error)
        self._enter(frame, digest)
        if errors and not hows:
            raise errors[0]
        if self.stalled:
            self.stalled = False
            self._log.info("goes on after a stall")
        for each in errors:
            self._log.error("%s", each)
        self._say("; ".join(hows) or self._places.why_nowhere(self), dark=not self._views)

    async def _show_on(self, spot: Spot, frame: Frame) -> tuple[str, int]:
        """Returns how, and the digest of its copied picture."""
        assert self._crop is not None
        output = spot.output
        try:
            view = await output.view(self, spot, self._crop)
            before = self._views.get(output)
            if before is None or before[1] is not view:
                self._clear_paths()
            self._views[output] = (spot, view)
            digest = await self._ways.show(self, spot, view, frame)
        except (HostError, RequestError, Dark) as error:
            await self._hide_on(output)
            if isinstance(error, HostError) and error.errno in NOT_OURS:
                output.fail(error)
                raise Dark(error.message) from error
            raise
        way = view.way(frame)
        assert way is not None
        return f"{spot} {output.mode}, {frame.layout.format.name}, {way.how}", digest

    def _enter(self, frame: Frame, digest: int) -> None:
        """``frame`` is on screen, and C flips to it from now on."""
        if not self._views:
            return
        for other in list(self._paths):
            # Another frame's way may have taken its copies' buffers along.
            if any(view.way(other) is None for _, view in self._views.values()):
                self.scanout.remove(self._paths.pop(other))
        for number, (output, (spot, _)) in enumerate(self._views.items()):
            output.tell(spot, self.scanout, number)
        path = FlipPath(frame.cookie, [view.part(frame) for _, view in self._views.values()])
        self.scanout.add(path)
        self.scanout.shown(path, digest)
        self._paths[frame] = path
        self._own_pictures += 1

    def _clear_paths(self) -> None:
        for path in self._paths.values():
            self.scanout.remove(path)
        self._paths = {}

    async def _hide(self, keep: Collection[Spot] = ()) -> None:
        for output, (spot, _) in list(self._views.items()):
            if spot not in keep:
                await self._hide_on(output)

    async def _hide_on(self, output: Output) -> None:
        self._clear_paths()
        shown = self._views.pop(output, None)
        if shown is None:
            return
        if output.ending is not None:
            self._endings.append(output.ending)
        else:
            await output.remove(self, *shown)

    async def _ended(self) -> None:
        """Until outputs that failed do not use its frames any more. Not in :meth:`_still`, which they wait for."""
        for ending in list(self._endings):
            await ending.wait()
        self._endings = [ending for ending in self._endings if not ending.is_set()]

    async def _lose(self, output: Output, error: Exception) -> None:
        output.fail(error)
        await self._hide_on(output)
