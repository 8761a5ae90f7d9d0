# SPDX-License-Identifier: GPL-2.0-or-later
"""Attacks that the fuzzer found to reach much of the daemon, and random ones, on the simulated host."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.hostile.arena import arena
from tests.hostile.hands import AttackSucceeded
from tests.hostile.parsers import parse_anything
from xendisplback.frontend.buffers import BufferTable

SEEDS = Path(__file__).parent / "seeds"
ATTACKS = 40
SECONDS = 60.0


def seeds(target: str) -> list[bytes]:
    found = [path.read_bytes() for path in sorted((SEEDS / target).iterdir())]
    assert found
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_no_random_attack_reaches_another_guest_or_the_daemon(seed: int) -> None:
    source = random.Random(seed)
    async with arena(SECONDS) as a:
        for _ in range(ATTACKS):
            await a.attack(source.randbytes(source.randrange(400)))


async def test_no_known_attack_reaches_another_guest_or_the_daemon() -> None:
    async with arena(SECONDS) as a:
        for attack in seeds("attacks"):
            await a.attack(attack)


@given(st.binary(max_size=600))
@example(b"")
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    parse_anything(data)


def test_known_bytes_are_parsed_or_refused() -> None:
    for data in seeds("parsers"):
        parse_anything(data)


async def test_a_fault_of_the_daemon_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError

    source = random.Random(0)
    with pytest.RaisesGroup(AttackSucceeded, flatten_subgroups=True):
        async with arena(SECONDS) as a:
            monkeypatch.setattr(BufferTable, "detach", fault)
            for _ in range(ATTACKS):
                await a.attack(source.randbytes(400))
