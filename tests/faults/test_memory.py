# SPDX-License-Identifier: GPL-2.0-or-later
"""No memory: for each mapping, export and dumb buffer of a guest's start and first pictures in turn."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest

from tests.faults.kit import CONNECTOR, a_fresh_guest_works, end, try_to_use
from tests.faults.test_start import no_fault_logged
from tests.frontend.conftest import run_machine
from xendisplback.errors import HostError
from xendisplback.frontend import lifecycle
from xendisplback.sim.card import SimCard
from xendisplback.sim.kernel import SimKernel
from xendisplback.sim.machine import SimGrantTable

SECONDS = 60.0
SCARCE: dict[str, tuple[type, str, str]] = {
    "map": (SimGrantTable, "map", "xengnttab_map_domain_grant_refs"),
    "export": (SimGrantTable, "export", "xengnttab_dmabuf_exp_from_refs"),
    "dumb": (SimCard, "dumb_framebuffer", "drmModeCreateDumbBuffer"),
}


class Shortage:
    """The ``first`` and all later calls, or only that one, get ENOMEM."""

    def __init__(self, original: Callable[..., Any], call: str, first: int, *, lasts: bool) -> None:
        self.calls = 0
        self._original = original
        self._call = call
        self._first = first
        self._lasts = lasts

    def method(self) -> Callable[..., Any]:
        def limited(owner: object, *arguments: object, **named: object) -> Any:
            self.calls += 1
            if self.calls == self._first or (self._lasts and self.calls > self._first):
                raise HostError("no memory", call=self._call, errno=errno.ENOMEM)
            return self._original(owner, *arguments, **named)

        return limited


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "for long"])
@pytest.mark.parametrize("what", SCARCE)
async def test_a_guest_meets_a_shortage_at_every_call(what: str, *, lasts: bool) -> None:
    owner, name, call = SCARCE[what]
    kernel = SimKernel(gntdev_dmabuf=what == "export")
    with no_fault_logged(), patch.object(lifecycle, "DWELL_SECONDS", 0.0):
        async with run_machine(None, None, kernel, seconds=SECONDS) as m:
            first, reached = 0, True
            while reached:
                first += 1
                shortage = Shortage(getattr(owner, name), call, first, lasts=lasts)
                with patch.object(owner, name, shortage.method()):
                    domain = await m.host.toolstack.create([CONNECTOR])
                    worked = await try_to_use(domain)
                    await end(m, domain)
                reached = shortage.calls >= first
                # A frame that can't be exported is copied.
                assert worked or (reached and what != "export")
            assert first > 2
            await a_fresh_guest_works(m)
