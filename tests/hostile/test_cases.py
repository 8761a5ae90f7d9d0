# SPDX-License-Identifier: GPL-2.0-or-later
"""Every scripted attack on the simulated host, each in a domain of its own. The rig plays the same."""

from __future__ import annotations

import pytest

from tests.hostile.arena import arena
from tests.hostile.attacker import Attacker
from tests.hostile.case import Case, End
from tests.hostile.cases import ALL
from tests.hostile.hands import AttackSucceeded

SECONDS = 20.0


@pytest.mark.parametrize("item", ALL, ids=lambda item: item.name)
async def test_an_attack_has_its_outcome_and_the_neighbour_does_not_notice(item: Case) -> None:
    async with arena(SECONDS) as a:
        await a.play(item)


@pytest.mark.parametrize("end", [End.CLOSED, End.REFUSED])
async def test_another_outcome_is_noticed(end: End) -> None:
    async def nothing(attacker: Attacker) -> None:
        if end is End.REFUSED:
            await attacker.connect()

    with pytest.RaisesGroup(AttackSucceeded, flatten_subgroups=True):
        async with arena(SECONDS) as a:
            await a.play(Case("nothing", end, nothing))
