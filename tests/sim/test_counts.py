# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon called, as its host counted it."""

from __future__ import annotations

import pytest
import trio

from tests.sim.kit import PICTURE, SIZE, flip_to, modeset
from xendisplback.errors import HostError
from xendisplback.host import DomainFacts, ExportKind
from xendisplback.sim.counts import Counts
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel


async def test_every_call_is_counted_refused_or_not() -> None:
    with trio.fail_after(10):
        async with SimHost(kernel=SimKernel(gntdev_dmabuf=True)) as host:
            domain = await host.toolstack.create([("HDMI-A-1", "640x480")], start=False, wait=False)
            refs = domain.guest.allocate(SIZE[0] * SIZE[1] * 4).refs
            (card,), _ = host.open_cards(["connector:HDMI-A-1"])
            table = host.grant_table()
            assert host.counts == Counts()
            table.map(domain.domid, refs, writable=False).close()
            export = table.export(domain.domid, refs, ExportKind.PLAIN)
            with pytest.raises(HostError):
                table.export(domain.domid, [0], ExportKind.PLAIN)
            imported = card.import_framebuffer(export.fd, PICTURE)
            memory = card.dumb_memory(*SIZE, 32)
            granted = table.grant(domain.domid, memory.fd, 300)
            shared = table.share(domain.domid, 1)
            dumb = card.dumb_framebuffer(*SIZE, PICTURE.format)
            before = host.counts
            assert before == Counts(
                maps=1, exports=2, unmaps=1, grants=1, shares=1, imports=1, addfb=2, dumb=2
            )
            modeset(card, imported).commit(allow_modeset=True)
            assert flip_to(card, dumb) == 0
            assert host.counts - before == Counts(commits=2)
            for held in (imported, dumb, export, granted, shared, memory, card):
                held.close()
            assert host.counts - before == Counts(commits=2, unmaps=1)
            assert host.memory.mapped() == 0


async def test_cards_are_opened_by_selector() -> None:
    async with SimHost() as host:
        assert host.open_cards(["driver:other", "connector:DP-1"]) == ([], [])
        (card,), errors = host.open_cards(["driver:other", "connector:HDMI-A-2"])
        assert (card.path, list(errors)) == ("/dev/dri/card0", [])
        card.close()


async def test_domain_facts_are_the_kernels() -> None:
    async with SimHost() as host:
        assert host.domain_facts() == DomainFacts(pv=False, direct_mapped=False)
        host.kernel.pv = host.kernel.direct_mapped = True
        assert host.domain_facts() == DomainFacts(pv=True, direct_mapped=True)
