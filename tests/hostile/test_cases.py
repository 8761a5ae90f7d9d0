# SPDX-License-Identifier: GPL-2.0-or-later
"""Every scripted attack on the simulated host, each in a domain of its own. The rig plays the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.arena import arena
from tests.hostile.attacker import Attacker
from tests.hostile.case import Case, End
from tests.hostile.cases import ALL
from tests.hostile.hands import AttackSucceeded
from xendisplback.frontend.buffers import BufferTable
from xendisplback.protocol.displif import FbAttach

SECONDS = 20.0
DOCUMENT = Path(__file__).parents[2] / "docs" / "hostile-guests.md"


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


async def test_a_fault_of_ours_closes_the_frontend_that_caused_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attach = BufferTable.attach

    def faulty(table: BufferTable, request: FbAttach) -> None:
        if request.width == 13:
            raise ZeroDivisionError
        attach(table, request)

    async def cause(attacker: Attacker) -> None:
        buffer = await attacker.created()
        ring = attacker.channels[0]
        await ring.put(buffer.attach(attacker.cookie(), width=13))
        await ring.push()

    monkeypatch.setattr(BufferTable, "attach", faulty)
    # The arena looks for faults last: frontend closed, neighbour well, everything released.
    expected = pytest.RaisesExc(AttackSucceeded, match="ZeroDivisionError")
    with pytest.RaisesGroup(expected, flatten_subgroups=True):
        async with arena(SECONDS) as a:
            await a.play(Case("cause", End.CLOSED, cause))


def test_every_case_is_in_the_documents_table() -> None:
    rows = DOCUMENT.read_text()
    assert [item.name for item in ALL if f"| `{item.name}` |" not in rows] == []
