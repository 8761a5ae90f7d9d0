# SPDX-License-Identifier: GPL-2.0-or-later
"""A connection may end at any await; what is held then is given up all the same."""

from __future__ import annotations

from typing import cast

import pytest
import trio

from xendisplback.frontend.grants import DomainGrants
from xendisplback.frontend.memory import GuestMemory
from xendisplback.scanout.ladder import Step


class Export:
    fd = -1

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Grants:
    def __init__(self) -> None:
        self.made: list[Export] = []

    async def export(self, *_: object) -> Export:
        self.made.append(Export())
        return self.made[-1]


@pytest.mark.parametrize("steps", range(6))
async def test_an_export_is_closed_once_whenever_its_connection_ends(steps: int) -> None:
    grants = Grants()
    memory = GuestMemory(cast("DomainGrants", grants), [8], ())
    (await memory.dmabuf(Step.PLAIN, float("inf"))).release()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(memory.drop, Step.PLAIN)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    memory.close()
    assert [export.closed for export in grants.made] == [1]
