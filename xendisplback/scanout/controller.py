# SPDX-License-Identifier: GPL-2.0-or-later
"""An opened card: its outputs, and which CRTC and planes each has."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import trio

from xendisplback.config import Config
from xendisplback.errors import GONE, HostError
from xendisplback.host import LEASE, Card, Crtc, DomainFacts, Plane
from xendisplback.scanout.assign import assign_crtcs, assign_planes
from xendisplback.scanout.flips import CardFlips
from xendisplback.scanout.ladder import CardFacts
from xendisplback.scanout.output import Dark, Output, Spawn
from xendisplback.scanout.pipe import Pipe

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
RETRY_MOST_SECONDS = 30.0
"""After a failure the card is looked at again; each time without success it takes twice as long."""


class OpenCard:
    """``changed``: more guests' connectors may be shown on an output of it by now."""

    def __init__(
        self,
        card: Card,
        facts: CardFacts,
        spawn: Spawn,
        changed: Callable[[Output], None],
        gone: Callable[[OpenCard], None],
    ) -> None:
        """Raises HostError."""
        self.card = card
        self.facts = facts
        self.flips = CardFlips(card.fd, card.path)
        self.outputs: list[Output] = []
        self._spawn = spawn
        self._changed = changed
        self._gone = gone
        self._mastered = True
        self._pipes: dict[Output, Pipe] = {}
        self._before = {c.id: c.crtc_id for c in card.connectors if c.crtc_id}
        """CRTC ids by connector id: as we found them, then as they were last."""
        self._lit_by_us = set(card.lit_before)
        """Ids of connectors that are or were lit by us since we are master."""
        self._retry = RETRY_SECONDS
        self._probing = trio.Lock()
        self._ended = False
        self._watching = trio.CancelScope()

    @property
    def leased(self) -> bool:
        """It is what a DRM lease holds."""
        return self.card.path.startswith(LEASE)

    @property
    def unusable(self) -> str | None:
        return None if self._mastered else f"{self.card.path} is another process's: not DRM master"

    # CRTCs and planes

    def take_pipe(self, output: Output) -> Pipe:
        connector = output.connector
        held = self._lit_elsewhere(output)
        crtc = self._assign(output, held).get(connector.id)
        taken = {plane.id for pipe in self._pipes.values() for plane in pipe.planes}
        planes: list[Plane] = []
        if crtc is not None:
            count = len(output.layout.layers) + 1 if output.layout.configured_layers else 1
            planes = assign_planes(crtc, self.card.crtcs, self.card.planes, count, taken)
        if crtc is None or not planes:
            lit = ", ".join(sorted(c.name for c in self.card.connectors if c.id in held))
            raise Dark(
                f"no CRTC or primary plane of {self.card.path} is left for it; lit: {lit or 'none'}"
            )
        self._before[connector.id] = crtc.id
        self._lit_by_us.add(connector.id)
        pipe = self._pipes[output] = Pipe(self.card, connector, crtc, planes)
        return pipe

    def _lit_elsewhere(self, output: Output) -> dict[int, int]:
        """CRTC ids by the ids of connectors that are lit by them, by us or by others, and are not to be moved."""
        ours = {output.connector.id, *self._lit_by_us}
        lit = {c.id: c.crtc_id for c in self.card.connectors if c.crtc_id and c.id not in ours}
        return lit | {each.connector.id: pipe.crtc.id for each, pipe in self._pipes.items()}

    def _assign(self, output: Output, lit: Mapping[int, int]) -> dict[int, Crtc]:
        """CRTCs by connector id."""
        others = [o.connector for o in self.outputs if o is not output and o.connector.connected]
        wanting = [output.connector, *others]
        return assign_crtcs(wanting, self.card.crtcs, lit=lit, before=self._before)

    def give_pipe(self, output: Output) -> None:
        self._pipes.pop(output, None)

    # Its life

    def failed(self, output: Output) -> None:
        self._spawn(self._try_again)

    def uncovered(self, output: Output) -> None:
        self._changed(output)

    async def _try_again(self) -> None:
        await trio.sleep(self._retry)
        if self._mastered:
            self._retry = min(2 * self._retry, RETRY_MOST_SECONDS)
        await self.look_again()

    def patience(self) -> None:
        """Something changed: the next failure is the first one again."""
        self._retry = RETRY_SECONDS

    async def look_again(self) -> None:
        """Monitors may have come or gone, or what failed may work by now."""
        async with self._probing:
            if self._ended:
                return
            before = {output: _looks(output) for output in self.outputs}
            try:
                mastered = await trio.to_thread.run_sync(self.card.take_master)
                if mastered and not self._mastered:
                    # What is lit now, another master has left.
                    self._lit_by_us.clear()
                self._mastered = mastered
                await trio.to_thread.run_sync(self.card.probe)
            except HostError as error:
                if error.errno in GONE:
                    self._gone(self)
                    return
                logger.warning("%s: %s", self.card.path, error)
            for output in self.outputs:
                await self._consider(output, before[output])
        if not self._mastered:
            self._spawn(self._try_again)

    async def _consider(self, output: Output, before: tuple[object, ...]) -> None:
        now = _looks(output)
        if now[0] != before[0]:
            logger.info("output %s: %s", output, "connected" if now[0] else "no monitor")
        if output.mode is not None and (
            output.unusable or output.mode not in output.connector.modes
        ):
            await output.darken()
        output.retry()
        if output.unusable is None:
            await output.show_safe()
            self._changed(output)

    async def watch(self) -> None:
        """Task: until the device vanishes, or :meth:`end`."""
        with self._watching:
            # It may have ended before this task's first step.
            await trio.lowlevel.checkpoint()
            error = await self.flips.failed()
            for output in self.outputs:
                output.fail(error)

    async def end(self) -> None:
        """Outputs off, their guests' connectors told; it is not looked at again."""
        self._ended = True
        # Its file descriptor must not be waited for when it is closed.
        self._watching.cancel()
        for output in self.outputs:
            await output.darken()

    def close(self) -> None:
        """Blocking. Its outputs are dark."""
        self.flips.close()
        self.card.close()


def _looks(output: Output) -> tuple[object, ...]:
    return (output.connector.connected, output.connector.modes, output.connector.edid)


def card_facts(card: Card, config: Config, domain: DomainFacts) -> CardFacts:
    settings = config.card_settings(card)
    return CardFacts(
        driver=card.driver,
        can_import=card.can_import,
        scans_first_address=card.scans_first_address,
        pv=domain.pv,
        direct_mapped=domain.direct_mapped,
        zero_copy=settings.zero_copy,
        iommu=settings.iommu,
    )
