# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hostile guest can do with its hands: grant pages and write them, ring doorbells, write XenStore.

Implemented for the simulator (sim_hands.py) and for a real domain (tests/rig/hands.py, with guest/hostile.c).
Without trio, which the rig's Python does not have: who waits calls :meth:`Hands.sleep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class AttackSucceeded(AssertionError):
    """What an attacker reached that none may."""


class StoreRefused(Exception):
    """XenStore's word, as on the wire: ``EACCES``."""


@dataclass(frozen=True, slots=True)
class Page:
    """4096 bytes of the guest, granted to the backend as ``ref``. ``number``: what :class:`Hands` call it."""

    number: int
    ref: int


class Hands(Protocol):
    domid: int
    neighbour: int
    """The domain of the well-behaved guest beside us."""
    neighbours_output: str
    path: str
    """Of our device's nodes. Connector 0 has an output of its own, connector 1 the neighbour's."""
    backend_path: str
    milliseconds: int
    """How long attacks that need many tries take."""
    patience: float
    """Seconds after which what did not happen will not happen."""

    async def grant(self, count: int, *, readonly: bool = False) -> Sequence[Page]:
        """New pages, zeroed."""
        ...

    async def end(self, page: Page) -> None:
        """Take the page back, whoever has it mapped."""
        ...

    async def poke(self, page: Page, offset: int, data: bytes) -> None:
        """4 bytes are one store, after all stores before it."""
        ...

    async def peek(self, page: Page, offset: int, length: int) -> bytes: ...
    async def series(self, page: Page, offset: int, first: int, count: int, step: int) -> None:
        """``count`` u32: ``first``, ``first + step``, …"""
        ...

    async def port(self) -> int:
        """A new event channel for the backend to bind to."""
        ...

    async def kick(self, port: int, count: int = 1) -> None: ...
    async def race(self, page: Page, offset: int, one: int, other: int) -> None:
        """From now on, for :attr:`milliseconds`, the u32 is ``one`` and ``other`` in turns; returns at once."""
        ...

    async def flood(self, ring: Page, port: int) -> Mapping[int, int]:
        """All 32 slots of the ring as they are now, again and again, for :attr:`milliseconds`.

        Returns how many responses came with which errno (0 or positive).
        """
        ...

    async def read(self, path: str) -> str:
        """This and the next ones raise StoreRefused."""
        ...

    async def write(self, path: str, value: str) -> None: ...
    async def remove(self, path: str) -> None: ...
    async def owner(self, path: str) -> int:
        """The domain that owns the node."""
        ...

    async def store_storm(self, path: str, values: Sequence[str]) -> int:
        """Write ``values`` in turns for :attr:`milliseconds`; how many were written."""
        ...

    async def sleep(self, seconds: float) -> None: ...
    async def reset(self) -> None:
        """Take back all pages and ports; races are over."""
        ...
