# SPDX-License-Identifier: GPL-2.0-or-later
"""One output: whether it is lit, in which mode, and what its layers show.

Rules:

- It is touched only when a guest wants it, or when a safe picture is configured; when the last guest leaves, the
  safe picture takes the guest's place in the same mode, so that a guest that comes back needs no modeset. Without
  a configured one the output goes dark soon after.
- No guest's picture stays on screen when its connector leaves, and no other guest sees it.
- An output that can't be used (no monitor, card gone or not ours, a commit refused) is dark and says why. Its
  guests run on; it is tried again when something changed, and after a while.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from xendisplback.errors import HostError
from xendisplback.host import Card, Connector
from xendisplback.kms.geometry import Rect
from xendisplback.kms.mode import Mode
from xendisplback.protocol.errors import RequestError
from xendisplback.scanout.arrange import arrange
from xendisplback.scanout.arrangement import Arrangement
from xendisplback.scanout.fit import choose_mode, place, preferred_mode
from xendisplback.scanout.flips import STUCK_SECONDS, Scanout
from xendisplback.scanout.frame import Crop, Frame
from xendisplback.scanout.ladder import COMMIT, CardFacts
from xendisplback.scanout.layout import LayerLayout, LayoutError, OutputLayout
from xendisplback.scanout.monitor_edid import edid_of
from xendisplback.scanout.safe import Safe, SafePicture, load_safe, parse_safe
from xendisplback.scanout.screen import Screen
from xendisplback.scanout.view import View

if TYPE_CHECKING:
    from xendisplback.scanout.controller import OpenCard
    from xendisplback.scanout.source import Source

logger = logging.getLogger(__name__)

LINGER_SECONDS = 5.0
"""How long an output without a configured safe picture shows black before it is switched off."""


class Spawn(Protocol):
    def __call__(self, work: Callable[..., Awaitable[None]], /, *arguments: object) -> None:
        """Start a task that lives as long as the cards are used; nothing once they are being closed."""
        ...


class Dark(Exception):
    """Nothing can be shown there now, and that is nobody's fault: why."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A layer of an output that is there."""

    output: Output
    layer: LayerLayout

    def __str__(self) -> str:
        several = self.output.layout.configured_layers
        return f"{self.output}/{self.layer.name}" if several else str(self.output)


class Output:
    def __init__(
        self,
        controller: OpenCard,
        connector: Connector,
        layout: OutputLayout,
        spawn: Spawn,
    ) -> None:
        self.connector = connector
        self.layout = layout
        self._controller = controller
        self._spawn = spawn
        self._lock = trio.Lock()
        """Held while its screen changes."""
        self._failed: str | None = None
        self.ending: trio.Event | None = None
        """While it is being switched off after a failure, which may take a card long: what then is set."""
        self._screen: Screen | None = None
        self._arrangement: Arrangement | None = None
        self._safe: SafePicture | None = None
        self._views: dict[str, tuple[Source, View]] = {}
        """By layer."""
        self._lingering = trio.CancelScope()
        self._watching = trio.CancelScope()

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return self.connector.name

    @property
    def card(self) -> Card:
        return self._controller.card

    @property
    def facts(self) -> CardFacts:
        return self._controller.facts

    @property
    def mode(self) -> Mode | None:
        """What it is lit in."""
        return self._screen.mode if self._screen is not None else None

    @property
    def how(self) -> str:
        """How its layers share it, for the operator."""
        return self._arrangement.how if self._arrangement is not None else ""

    @property
    def crtc_id(self) -> int:
        """0: it is dark."""
        return self._screen.pipe.crtc.id if self._screen is not None else 0

    @property
    def unusable(self) -> str | None:
        """Why nothing can be shown on it now."""
        if self._controller.unusable is not None:
            return self._controller.unusable
        if not self.connector.connected:
            return "no monitor"
        return self._failed

    @property
    def sources(self) -> list[Source]:
        """What it shows."""
        return [source for source, _ in self._views.values()]

    def view_of(self, layer: str) -> View | None:
        shown = self._views.get(layer)
        return shown[1] if shown is not None else None

    async def edid(self) -> bytes:
        """What guests are to believe of it; b"": one is to be made. Raises HostError."""
        return await edid_of(self.connector, self.layout)

    # What its guests' connectors call, with their flips paused and none on its way

    async def view(self, source: Source, spot: Spot, crop: Crop) -> View:
        """How ``source`` shows ``crop`` of its frames there: the one it has, or one that shows nothing yet.

        Raises Dark, RequestError EINVAL where no mode or place is for it, HostError.
        """
        layer = spot.layer
        async with self._alone(source):
            if self.unusable is not None:
                raise Dark(self.unusable)
            self._lingering.cancel()
            arrangement = await self._lit_for(crop)
            area = layer.area or arrangement.screen.area
            where = place(layer.fit, area, crop.width, crop.height)
            front = self._in_front_of(layer, where)
            if front is not None:
                raise Dark(f"behind {front}")
            holder, before = self._views.get(layer.name, (source, None))
            if holder is not source:
                raise Dark(f"{holder} is about to leave it")
            if before is not None:
                if (before.crop, before.place) == (crop, where):
                    return before
                await self._take_down(layer.name)
            view = arrangement.view(layer.name, crop, where)
            self._views[layer.name] = (source, view)
            return view

    async def show(self, source: Source, view: View, show: Callable[[], int]) -> int:
        """Call what shows ``view`` in a worker thread; its digest.

        Raises Dark: it was switched off meanwhile; RequestError and HostError as ``show``.
        """
        async with self._alone(source):
            if self._screen is None or all(view is not shown for _, shown in self._views.values()):
                raise Dark(self.unusable or "it was just switched off")
            digest = await trio.to_thread.run_sync(show)
        self._cover()
        return digest

    async def forget(self, source: Source, view: View, frame: Frame) -> None:
        """``view`` shows ``frame`` no more, whose memory goes away. Raises HostError."""
        async with self._alone(source):
            await trio.to_thread.run_sync(view.forget, frame)

    def tell(self, spot: Spot, scanout: Scanout, part: int) -> None:
        """Flip events of that layer are for that part of ``scanout``."""
        if self._arrangement is not None:
            self._arrangement.tell(spot.layer.name, scanout, part)

    async def remove(self, source: Source, spot: Spot, view: View) -> None:
        """Nothing of ``source`` is on screen from now on. What fails is logged."""
        # A view is nobody's but ours: a guest that leaves must not cut this short.
        with trio.CancelScope(shield=True):
            async with self._alone(source):
                if self.view_of(spot.layer.name) is view:
                    await self._take_down(spot.layer.name)
                    self._linger()
        if self.layout.configured_layers:
            self._controller.uncovered(self)

    # Its own life

    def fail(self, error: Exception) -> None:
        """The card refused a commit or is gone: dark until it is tried again. Says so once.

        Its guests' connectors leave it at once; their views are closed in :attr:`ending`.
        """
        if self._failed is None:
            self._failed = str(error)
            self.ending = trio.Event()
            logger.error("%s: dark until it works again: %s", self, error)
            self._spawn(self._after_failure, self.ending)

    async def _after_failure(self, ending: trio.Event) -> None:
        with trio.CancelScope(shield=True):
            for source in self.sources:
                await source.leave(self)
            async with self._lock:
                await self._switch_off()
                await self._close_views()
            self.ending = None
            ending.set()
        self._controller.failed(self)

    def retry(self) -> None:
        """What failed may work by now."""
        if self.ending is None:
            self._failed = None

    async def darken(self) -> None:
        """Switch it off, with its guests' connectors told, who run on."""
        with trio.CancelScope(shield=True):
            sources = self.sources
            for source in sources:
                source.scanout.pause()
            try:
                async with self._alone(None):
                    await self._switch_off()
                for source in sources:
                    await source.leave(self)
            finally:
                for source in sources:
                    source.scanout.resume()

    async def show_safe(self) -> None:
        """If a safe picture is configured and nothing else is shown: light it. What fails is logged."""
        if not self.layout.configured_safe or self.unusable is not None:
            return
        async with self._alone(None):
            if self._screen is not None:
                return
            try:
                arrangement = await self._light(_own_mode(self.layout, self.connector.modes))
                await trio.to_thread.run_sync(arrangement.show_nothing)
            except (HostError, RequestError, Dark) as error:
                logger.error("%s: the safe picture can't be shown: %s", self, error)

    def check(self, layout: OutputLayout) -> None:
        """Whether the monitor that is there now can show ``layout``. Raises LayoutError."""
        if not self.connector.connected or (layout.mode is None and not layout.configured_layers):
            return
        try:
            mode = _own_mode(layout, self.connector.modes)
        except RequestError as error:
            raise LayoutError(f"output {self}: {error}") from error
        layout.check_size(mode.hdisplay, mode.vdisplay)

    async def use(self, layout: OutputLayout) -> None:
        """Another layout; its guests' connectors are to be shown anew."""
        await self.darken()
        self.layout = layout
        self._safe = None
        await self.show_safe()

    @asynccontextmanager
    async def _alone(self, source: Source | None) -> AsyncGenerator[None, None]:
        """Nothing else changes it, and nothing of other sources is on its way to it."""
        async with self._lock:
            others = [other.scanout for other in self.sources if other is not source]
            for scanout in others:
                scanout.pause()
            try:
                for scanout in others:
                    # Who is stuck finds that out by itself; nobody waits for it.
                    await trio.to_thread.run_sync(scanout.wait, STUCK_SECONDS)
                yield
            finally:
                for scanout in others:
                    scanout.resume()

    async def _lit_for(self, crop: Crop) -> Arrangement:
        """Of a screen in a mode for ``crop``, which may not be lit yet."""
        layout = self.layout
        if layout.configured_layers:
            mode = _own_mode(layout, self.connector.modes)
        else:
            fit = layout.layers[0].fit
            mode = choose_mode(self.connector.modes, *crop.size, fit, layout.mode, layout.refresh)
        if self._arrangement is not None and self._arrangement.screen.mode == mode:
            return self._arrangement
        return await self._light(mode)

    async def _light(self, mode: Mode) -> Arrangement:
        """Prepare ``mode``; where one layer covers the output, its first picture sets it."""
        await self._switch_off()
        await self._close_views()
        layout = self.layout
        try:
            layout.check_size(mode.hdisplay, mode.vdisplay)
            if self._safe is None:
                self._safe = await self._load_safe(layout.safe)
            pipe = self._controller.take_pipe(self)
            self._screen = Screen(pipe, mode, self._safe)
            self._arrangement = await trio.to_thread.run_sync(
                arrange, self._screen, layout, self._controller.flips
            )
        except BaseException:
            await self._switch_off()
            raise
        self._watching = trio.CancelScope()
        self._spawn(self._watch, self._arrangement, self._watching)
        return self._arrangement

    async def _load_safe(self, safe: Safe) -> SafePicture:
        try:
            return await trio.to_thread.run_sync(load_safe, safe)
        except HostError as error:
            logger.error("%s: its safe picture is blank: %s", self, error)
            return load_safe(parse_safe("blank"))

    async def _watch(self, arrangement: Arrangement, scope: trio.CancelScope) -> None:
        """Task: until a commit of several layers is refused."""
        with scope:
            # It may have ended before this task's first step.
            await trio.lowlevel.checkpoint()
            number = await arrangement.failed()
            self.fail(HostError("commit of its layers refused", call=COMMIT, errno=number))

    async def _take_down(self, layer: str) -> None:
        """What is behind the layer comes to light."""
        _, view = self._views.pop(layer)
        # Nobody else knows the view any more: a guest that leaves must not cut this short.
        with trio.CancelScope(shield=True):
            if self._arrangement is not None and self.unusable is None:
                try:
                    await trio.to_thread.run_sync(self._arrangement.clear, layer)
                except HostError as error:
                    self.fail(error)
            if self.unusable is not None:
                await self._switch_off()
            await self._end(view.close)

    async def _switch_off(self) -> None:
        """Views are closed later: their framebuffers are off the screen then."""
        arrangement, self._arrangement = self._arrangement, None
        screen, self._screen = self._screen, None
        if screen is not None:
            await self._end(screen.darken)
            if arrangement is not None:
                # Its file descriptor must not be waited for when it is closed.
                self._watching.cancel()
                await self._end(arrangement.close)
            await self._end(screen.close)
            self._controller.give_pipe(self)

    async def _close_views(self) -> None:
        for _, view in self._views.values():
            await self._end(view.close)
        self._views.clear()

    async def _end(self, end: Callable[[], None]) -> None:
        with trio.CancelScope(shield=True):
            try:
                await trio.to_thread.run_sync(end)
            except HostError as error:
                logger.warning("%s: %s", self, error)

    def _linger(self) -> None:
        if not self._views and self._screen is not None and not self.layout.configured_safe:
            self._lingering = trio.CancelScope()
            self._spawn(self._switch_off_later, self._lingering)

    async def _switch_off_later(self, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(LINGER_SECONDS)
            async with self._lock:
                if not self._views:
                    await self._switch_off()

    # Layers that cover each other: what can't be seen is not fetched

    def _in_front_of(self, layer: LayerLayout, where: Rect) -> str | None:
        """Which shown layer covers ``where`` of ``layer``, if one does."""
        for other in self.layout.layers:
            view = self.view_of(other.name)
            if other.zpos > layer.zpos and view is not None and view.place.covers(where):
                return other.name
        return None

    def _cover(self) -> None:
        """Have guests' connectors that went out of view not shown any more."""
        for layer in self.layout.layers:
            shown = self._views.get(layer.name)
            if shown is not None and self._in_front_of(layer, shown[1].place) is not None:
                self._spawn(shown[0].reshow)


def _own_mode(layout: OutputLayout, modes: Sequence[Mode]) -> Mode:
    """Without a guest. Raises RequestError."""
    if layout.mode is None:
        return preferred_mode(modes, layout.refresh)
    size = layout.mode.width, layout.mode.height
    return choose_mode(modes, *size, "exact", layout.mode, layout.refresh)
