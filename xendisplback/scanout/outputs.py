# SPDX-License-Identifier: GPL-2.0-or-later
"""All outputs, by name, and which guest's connector belongs on which of them.

Cards and monitors come and go, and an operator moves guests about; whatever changes, every guest's connector is
shown again where it belongs by then, and its guest notices nothing.

Cards are opened in a worker thread after the frontends were told that we are here: a slow card must not cost
a guest the 10 s that its toolstack waits. Until then a guest's first SET_CONFIG waits.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import trio

from xendisplback.config import Config
from xendisplback.errors import HostError
from xendisplback.host import LEASE, NONE_KEPT, Card, Host, KeptCard
from xendisplback.kept import drop_card, keep_card, keep_routes
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status
from xendisplback.scanout.controller import OpenCard, card_facts
from xendisplback.scanout.copy_job import choose_copy
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.layout import (
    GuestName,
    Layout,
    LayoutError,
    OutputLayout,
    Place,
    pack_routes,
    unpack_routes,
)
from xendisplback.scanout.output import Output, Spot
from xendisplback.scanout.permission import Permission
from xendisplback.scanout.report import describe
from xendisplback.scanout.safe import load_safe
from xendisplback.scanout.source import Source
from xendisplback.scanout.stalls import watch_stalls

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0
MASTER_SECONDS = 5.0
"""How often a card that another program has is looked at."""
SET_MASTER = "drmSetMaster"
SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""What passes: no descriptors, memory or threads are left."""


class Outputs:
    """Tells sources where they belong; fulfils ``Control`` for the operator."""

    def __init__(
        self,
        host: Host,
        config: Config,
        kept: Mapping[str, KeptCard] = NONE_KEPT,
        routes: bytes = b"",
    ) -> None:
        """``kept``: cards of an earlier process, by path; their files are ours. ``routes``: what it was told."""
        self._host = host
        self._fd_store = host.fd_store()
        self._kept: Mapping[str, KeptCard] = kept
        self._settled = not kept
        """Nothing that an earlier process left is on a screen any more."""
        self._config = config
        self._domain = host.domain_facts()
        self._layout = config.layout
        self._routes: dict[GuestName, tuple[Place, ...] | None] = {}
        """What the operator has changed since the configuration was read."""
        self._route_again(routes)
        self._opened = trio.Event()
        self._cards: list[OpenCard] = []
        self._outputs: dict[str, Output] = {}
        self._sources: list[Source] = []
        self._claims: dict[Place, Source] = {}
        self._nursery: trio.Nursery | None = None
        self._errors: set[str] = set()
        """What of cards was logged already."""
        self._scanning = trio.Lock()
        self._scanning_later = False
        self._changing = trio.Lock()
        """Held while the layout changes."""
        self._stalls = trio.CancelScope()

    def _route_again(self, packed: bytes) -> None:
        try:
            routes = unpack_routes(packed)
            self._layout = self._layout.routed(routes)
        except LayoutError as error:
            logger.error("routes from before are not in use any more: %s", error)
        else:
            self._routes = routes

    # Cards

    async def run(self) -> None:
        """Open the cards, and those that come, and serve their events until cancelled; then close them."""
        await trio.to_thread.run_sync(choose_copy)
        try:
            async with trio.open_nursery() as nursery, self._host.display_changes() as changes:
                self._nursery = nursery
                await self._scan()
                self._opened.set()
                if not self._outputs:
                    logger.error("no output: guests run, but nothing can be shown")
                self._watch_stalls()
                async for change in changes:
                    await self._on_change(change.path, gone=change.gone)
        finally:
            self._nursery = None
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                for card in self._cards:
                    await card.end()
                await trio.to_thread.run_sync(self._close)

    def _spawn(self, work: Callable[..., Awaitable[None]], /, *arguments: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(work, *arguments)

    def _close(self) -> None:
        """Blocking."""
        for card in self._cards:
            drop_card(self._fd_store, card.card.path)
            card.close()

    async def _on_change(self, path: str | None, *, gone: bool) -> None:
        for card in list(self._cards):
            # Which device a lease is of nobody knows.
            if path in (None, card.card.path) or card.leased:
                card.patience()
                if gone and not card.leased:
                    await self._remove(card)
                else:
                    await card.look_again()
                    await self._adopt_outputs(card)
        if not gone:
            await self._scan()

    async def _scan(self) -> None:
        """Open what is not open yet."""
        async with self._scanning:
            held = [card.card.path for card in self._cards]
            cards, errors = await trio.to_thread.run_sync(
                self._host.open_cards, self._config.cards, held, self._kept
            )
            self._close_kept({card.path for card in cards})
            refusals = list(errors)
            for card in cards:
                try:
                    await self._adopt(card)
                except HostError as error:
                    refusals.append(error)
            for refusal in refusals:
                if str(refusal) not in self._errors:
                    self._errors.add(str(refusal))
                    logger.error("card not used: %s", refusal)
        if (
            any(each.call == SET_MASTER or each.errno in SHORT for each in refusals)
            and not self._scanning_later
        ):
            # Nobody tells when the other program lets go, or when there is room again.
            self._scanning_later = True
            self._spawn(self._scan_later)

    def _close_kept(self, taken_over: Collection[str]) -> None:
        for path, kept in self._kept.items():
            if path not in taken_over:
                drop_card(self._fd_store, path)
            os.close(kept.fd)
        self._kept = NONE_KEPT

    async def settle(self) -> None:
        """The guests of an earlier process are shown again, or it was tried: what else it left goes."""
        await self.opened()
        self._settled = True
        for card in list(self._cards):
            try:
                await trio.to_thread.run_sync(card.card.remove_left)
            except HostError as error:
                logger.warning("%s: an earlier picture stays: %s", card.card.path, error)
            for output in list(card.outputs):
                await output.show_safe()

    async def _scan_later(self) -> None:
        await trio.sleep(MASTER_SECONDS)
        self._scanning_later = False
        await self._scan()

    async def _adopt(self, card: Card) -> None:
        """Raises HostError, with ``card`` closed."""
        facts = card_facts(card, self._config, self._domain)
        try:
            opened = OpenCard(card, facts, self._spawn, self._changed, self._card_gone)
        except HostError:
            await trio.to_thread.run_sync(card.close)
            raise
        if not card.path.startswith(LEASE):
            keep_card(self._fd_store, card)
        self._cards.append(opened)
        self._spawn(opened.watch)
        await self._adopt_outputs(opened)

    async def _adopt_outputs(self, opened: OpenCard) -> None:
        """Those of its connectors whose names are new: some (MST) come with a monitor."""
        card = opened.card
        known = {output.connector.id for output in opened.outputs}
        for connector in card.connectors:
            other = self._outputs.get(connector.name)
            if connector.id in known:
                continue
            if other is not None:
                logger.warning(
                    "%s: %s not used, %s has an output of that name; choose with 'cards'",
                    *(card.path, connector.name, other.card.path),
                )
                continue
            layout = self._layout.output(connector.name)
            output = Output(opened, connector, layout, self._spawn)
            opened.outputs.append(output)
            self._outputs[output.name] = output
            state = "connected" if connector.connected else "no monitor"
            logger.info("output %s: %s (%s), %s", output, card.path, card.driver, state)
            # What an earlier process shows there is not to be covered before its guest is back.
            if self._settled or connector.id not in card.lit_before:
                await output.show_safe()
            self._changed(output)

    def _card_gone(self, card: OpenCard) -> None:
        self._spawn(self._remove, card)

    async def _remove(self, card: OpenCard) -> None:
        """The device is gone; one that comes in its place is another one."""
        if card not in self._cards:
            return
        self._cards.remove(card)
        logger.warning("%s is gone, with %s", card.card.path, ", ".join(map(str, card.outputs)))
        for output in card.outputs:
            del self._outputs[output.name]
        drop_card(self._fd_store, card.card.path)
        await card.end()
        await trio.to_thread.run_sync(card.close)
        await self._scan()

    def _changed(self, output: Output) -> None:
        """Whoever belongs on ``output`` and is not shown there may be now."""
        for source in self._sources:
            wanted = source.active and not source.shown_on(output)
            if wanted and any(spot.output is output for spot in self.spots(source)):
                self._spawn(source.reshow)

    async def adopt_lease(self, fd: int, name: str) -> None:
        """Use what a DRM lease holds. Raises HostError."""
        card = await trio.to_thread.run_sync(self._host.open_lease, fd, name)
        await self._adopt(card)

    # Sources: guests' connectors

    def source(
        self,
        name: GuestName,
        unique_id: str,
        permission: Permission,
        dark: DarkScreen,
        log: logging.LoggerAdapter[logging.Logger],
    ) -> Source:
        """A new one, until it is released. Raises HostError."""
        source = Source(name, unique_id, permission, self._config.refresh_rate, self, dark, log)
        self._sources.append(source)
        return source

    @property
    def sources(self) -> Sequence[Source]:
        """In the order in which their guests connected."""
        return self._sources

    async def opened(self) -> None:
        """Until the cards that were there at the start are open."""
        await self._opened.wait()

    def _places(self, source: Source) -> tuple[Place, ...]:
        try:
            return self._layout.places(source.name, source.unique_id)
        except LayoutError:
            return ()

    def claim(self, source: Source) -> None:
        """The source's places are its own from now on. Raises RequestError EBUSY where one is another's."""
        places = self._places(source)
        permission = source.permission
        for place in places:
            if not permission.may_show_on(place.output):
                raise RequestError(
                    Status.EACCES,
                    f"{source} may not be shown on {place.output}: outputs in {permission.source}",
                )
            holder = self._claims.get(place)
            if holder is not None and holder is not source:
                raise RequestError(Status.EBUSY, f"output {place} is held by {holder}")
        for place in places:
            self._claims[place] = source

    def spots(self, source: Source) -> list[Spot]:
        """The source's places on the outputs that are there."""
        spots: list[Spot] = []
        for place in self._places(source):
            output = self._outputs.get(place.output)
            if not source.permission.may_show_on(place.output):
                continue
            if output is not None and self._claims.get(place, source) is source:
                spots.append(Spot(output, output.layout.layer(place.layer)))
        return spots

    def why_nowhere(self, source: Source) -> str:
        """Why there are no spots, for the operator."""
        try:
            places = self._layout.places(source.name, source.unique_id)
        except LayoutError as error:
            return f"no output: {error}"
        if not places:
            return "no output: its route is none"
        if not any(source.permission.may_show_on(place.output) for place in places):
            return f"no output: {source.permission.source} does not allow it"
        there = ", ".join(sorted(self._outputs)) or "none"
        wanted = ", ".join(place.output for place in places)
        return f"no output: {wanted} is not there (outputs here: {there}); shown when it comes"

    def leave(self, source: Source) -> None:
        """It is gone."""
        self._sources.remove(source)
        for place in [place for place, holder in self._claims.items() if holder is source]:
            del self._claims[place]

    # The operator

    async def route(self, changes: Mapping[GuestName, tuple[Place, ...] | None]) -> None:
        """Move guests' connectors, all at once. Raises HostError, and changes nothing, where that can't be."""
        for places in changes.values():
            for place in places or ():
                if place.output not in self._outputs:
                    there = ", ".join(sorted(self._outputs)) or "none"
                    raise LayoutError(f"no output {place.output!r}", hint=f"outputs here: {there}")
        async with self._changing:
            layout = self._layout.routed(changes, self._living)
            for source in self._sources:
                for place in changes.get(source.name) or ():
                    if not source.permission.may_show_on(place.output):
                        raise LayoutError(
                            f"{source} may not be shown on {place.output}",
                            hint=f"outputs in {source.permission.source}",
                        )
            self._routes.update(changes)
            keep_routes(self._fd_store, pack_routes(self._routes))
            await self._use(layout)

    async def reload(self, config: Config) -> None:
        """Another configuration's layout. Raises HostError, and changes nothing, where that can't be."""
        async with self._changing:
            for asked in config.layout.outputs.values():
                if asked != self._layout.output(asked.name):
                    await self._check(asked)
            layout = config.layout.routed(config.layout.routes, self._living)
            self.forget_routes()
            await self._use(layout)

    def forget_routes(self) -> None:
        """What the operator has changed is not for the next process."""
        self._routes = {}
        keep_routes(self._fd_store, b"")

    async def _check(self, asked: OutputLayout) -> None:
        """Whether it can be shown, as far as is known now. Raises HostError."""
        await trio.to_thread.run_sync(load_safe, asked.safe)
        output = self._outputs.get(asked.name)
        if output is not None:
            output.check(asked)

    @property
    def _living(self) -> dict[GuestName, str]:
        """The guests that have places, each with its ``unique-id``."""
        return {source.name: source.unique_id for source in self._sources if source.claimed}

    def _watch_stalls(self) -> None:
        """As far as the layout wants it: nothing wakes up regularly without need."""
        self._stalls.cancel()
        if any(output.stalled_after for output in self._layout.outputs.values()):
            self._stalls = trio.CancelScope()
            self._spawn(watch_stalls, self._sources, self._stalls)

    async def _use(self, layout: Layout) -> None:
        self._layout = layout
        self._watch_stalls()
        self._claims = {
            place: source
            for source in self._sources
            if source.claimed
            for place in self._places(source)
            # A configuration may route it where it must not be: then nobody is kept from there.
            if source.permission.may_show_on(place.output)
        }
        for output in self._outputs.values():
            if output.layout != layout.output(output.name):
                await output.use(layout.output(output.name))
        # First off the places that others get.
        for source in list(self._sources):
            await source.withdraw()
        for source in list(self._sources):
            await source.reshow()

    def layout(self) -> Mapping[str, object]:
        """What is shown where, in the configuration's words."""
        return describe(self._layout, self._outputs, self._sources, self._places)
