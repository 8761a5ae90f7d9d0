# SPDX-License-Identifier: GPL-2.0-or-later
"""Scripted attacks: each a name, a function, and what must come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum

from tests.hostile.attacker import Attacker
from tests.hostile.hands import Hands

Function = Callable[[Attacker], Awaitable[object]]


class End(Enum):
    SERVED = "served on"
    CLOSED = "this frontend closed, and served again once it connects anew"
    REFUSED = "not connected, until it publishes better nodes"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    end: End
    function: Function

    @property
    def shows(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


CASES: list[Case] = []


def case(end: End = End.SERVED) -> Callable[[Function], Function]:
    """Registers a function in the order of the file. It finds the frontend connected, but for ``REFUSED``.

    It raises AttackSucceeded; what it returns is a figure for people.
    """

    def register(function: Function) -> Function:
        CASES.append(Case(getattr(function, "__name__", ""), end, function))
        return function

    return register


async def play(item: Case, hands: Hands, *, version: int = 1) -> str:
    """What was seen. Raises AttackSucceeded, also where the outcome is not the case's."""
    attacker = Attacker(hands)
    if item.end is End.REFUSED:
        await attacker.leave()
    else:
        await attacker.connect(version)
    seen = await item.function(attacker)
    if item.end is End.SERVED:
        await attacker.expect_served()
    elif item.end is End.CLOSED:
        await attacker.expect_closed()
    else:
        await attacker.expect_not_served()
    return "" if seen is None else str(seen)
