# SPDX-License-Identifier: GPL-2.0-or-later
"""The outputs of all cards, by name.

Cards are opened in a worker thread after the frontends were told that we are here: a slow card must not cost
a guest the 10 s that its toolstack waits. Until then :meth:`Outputs.find` waits.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from xendisplback.config import Config
from xendisplback.host import Card, Host
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status
from xendisplback.scanout.assign import assign_crtcs, primary_planes
from xendisplback.scanout.copy_job import choose_copy
from xendisplback.scanout.flips import CardFlips
from xendisplback.scanout.ladder import CardFacts
from xendisplback.scanout.output import Output
from xendisplback.scanout.pipe import Pipe

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0


class Outputs:
    def __init__(self, host: Host, config: Config) -> None:
        self._host = host
        self._config = config
        self._domain = host.domain_facts()
        self._opened = trio.Event()
        self._outputs: dict[str, Output] = {}

    async def run(self) -> None:
        """Open the cards and serve their events until cancelled; then close them."""
        await trio.to_thread.run_sync(choose_copy)
        cards, errors = await trio.to_thread.run_sync(self._host.open_cards, self._config.cards)
        for error in errors:
            logger.error("card not used: %s", error)
        readers: list[CardFlips] = []
        try:
            async with trio.open_nursery() as nursery:
                for card in cards:
                    reader = CardFlips(card.fd, card.path)
                    readers.append(reader)
                    outputs = self._adopt(card, reader, nursery)
                    nursery.start_soon(_watch, reader, outputs)
                self._opened.set()
                if not self._outputs:
                    logger.error("no output: guests run, but nothing can be shown")
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
                for output in self._outputs.values():
                    await output.disable()
                await trio.to_thread.run_sync(self._close, cards, readers)

    def _close(self, cards: Sequence[Card], readers: Sequence[CardFlips]) -> None:
        """Blocking."""
        for reader in readers:
            reader.close()
        for output in self._outputs.values():
            # A frontend that could not be closed in time still has it; the process ends.
            if not output.held:
                output.flips.close()
        for card in cards:
            card.close()

    def _adopt(self, card: Card, reader: CardFlips, nursery: trio.Nursery) -> Sequence[Output]:
        """The outputs of ``card`` whose names are new."""
        crtcs = assign_crtcs(card.connectors, card.crtcs)
        planes = primary_planes(list(crtcs.values()), card.planes)
        facts = self._facts(card)
        outputs: list[Output] = []
        for connector in card.connectors:
            crtc = crtcs.get(connector.id)
            if crtc is None or crtc.id not in planes:
                logger.warning(
                    "%s: no CRTC or primary plane left for %s", card.path, connector.name
                )
            elif connector.name in self._outputs:
                other = self._outputs[connector.name].card.path
                logger.warning(
                    "%s: %s not used, %s has an output of that name; choose with 'cards'",
                    card.path,
                    connector.name,
                    other,
                )
            else:
                pipe = Pipe(card, connector, crtc, planes[crtc.id])
                output = Output(pipe, facts, nursery, self._config.refresh_rate)
                reader.add(crtc.id, output.flips)
                self._outputs[connector.name] = output
                outputs.append(output)
                state = "connected" if connector.connected else "no monitor"
                logger.info("output %s: %s (%s), %s", output.name, card.path, card.driver, state)
        return outputs

    def _facts(self, card: Card) -> CardFacts:
        settings = self._config.card_settings(card)
        return CardFacts(
            driver=card.driver,
            can_import=card.can_import,
            scans_first_address=card.scans_first_address,
            pv=self._domain.pv,
            direct_mapped=self._domain.direct_mapped,
            zero_copy=settings.zero_copy,
            iommu=settings.iommu,
        )

    def known(self, name: str) -> Output | None:
        """The output of that name if its card is open already."""
        return self._outputs.get(name)

    async def find(self, name: str) -> Output:
        """The output that a connector's ``unique-id`` names. Waits until the cards are open.

        Raises RequestError ENODEV, naming the outputs there are.
        """
        await self._opened.wait()
        output = self._outputs.get(name)
        if output is None:
            there = ", ".join(sorted(self._outputs)) or "none"
            raise RequestError(Status.ENODEV, f"no output {name!a}; outputs here: {there}")
        return output


async def _watch(reader: CardFlips, outputs: Sequence[Output]) -> None:
    """Task: until the card vanishes."""
    error = await reader.failed()
    for output in outputs:
        output.fail(error)
