# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that end, and toolstacks that die, at every step of a start."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest
import trio

from tests.faults.kit import CONNECTOR, a_fresh_guest_works, nothing_is_left, use
from tests.frontend.conftest import Machine, run_machine
from tests.log_faults import LogFaults
from xendisplback.frontend import lifecycle
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.kernel import SimKernel
from xendisplback.sim.store_core import Session
from xendisplback.sim.store_tree import DOM0

SECONDS = 120.0
WRITES = 60
"""More than a start has."""


@contextmanager
def each_write(call: Callable[[int], None]) -> Generator[None, None, None]:
    """Before each change of the store, anybody's: ``call(domid)``."""
    originals = {name: getattr(Session, name) for name in ("write", "mkdir", "set_permissions")}

    def wrapped(name: str) -> Callable[..., None]:
        def change(session: Session, *arguments: object) -> None:
            call(session.domid)
            originals[name](session, *arguments)

        return change

    with ExitStack() as stack:
        for name in originals:
            stack.enter_context(patch.object(Session, name, wrapped(name)))
        yield


@contextmanager
def no_fault_logged() -> Generator[None, None, None]:
    faults = LogFaults()
    faults.start()
    try:
        yield
    finally:
        faults.stop()
    assert not faults.texts, faults.texts[0]


async def _start_until(m: Machine, number: int, *, crash: bool) -> bool:
    """End a guest after that many writes since its creation; whether there were so many."""
    reached, token, count = trio.Event(), trio.lowlevel.current_trio_token(), 0

    def note(domid: int) -> None:
        nonlocal count
        count += 1
        if count == number:
            token.run_sync_soon(reached.set)

    toolstack = m.host.toolstack
    with each_write(note):
        domain = await toolstack.create([CONNECTOR], wait=False)

        async def live() -> None:
            try:
                await use(domain)
            except GuestError:
                assert not domain.alive or reached.is_set()
            await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(live)
            with trio.move_on_after(0.5):
                await reached.wait()
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                if crash:
                    domain.die()
                await toolstack.destroy(domain)
    await nothing_is_left(m, domain.domid)
    return reached.is_set()


@pytest.mark.parametrize("crash", [False, True], ids=["destroyed", "crashed"])
@pytest.mark.parametrize("exports", [False, True], ids=["copy", "zero copy"])
async def test_a_guest_ends_at_every_step_of_its_start(*, crash: bool, exports: bool) -> None:
    kernel = SimKernel(gntdev_dmabuf=exports)
    with no_fault_logged(), patch.object(lifecycle, "DWELL_SECONDS", 0.0):
        async with run_machine(None, None, kernel, seconds=SECONDS) as m:
            tried = 0
            while await _start_until(m, tried + 1, crash=crash):
                tried += 1
            assert 20 < tried < WRITES
            await a_fresh_guest_works(m)


class Killed(Exception):
    """xl was."""


async def test_a_toolstack_dies_at_every_step_of_a_creation() -> None:
    """What it wrote stays until somebody removes it: with or without a domain, whole or not."""
    with no_fault_logged(), patch.object(lifecycle, "DWELL_SECONDS", 0.0):
        async with run_machine(seconds=SECONDS) as m:
            number, whole = 0, False
            while not whole:
                number += 1
                whole = await _create_until(m, number)
            assert 20 < number < WRITES
            await a_fresh_guest_works(m)


async def _create_until(m: Machine, number: int) -> bool:
    """Whether there were not so many writes."""
    count, toolstack = 0, m.host.toolstack

    def kill(domid: int) -> None:
        nonlocal count
        if domid == DOM0:
            count += 1
            if count == number:
                raise Killed

    try:
        with each_write(kill):
            await toolstack.create([CONNECTOR], start=False, wait=False)
    except Killed:
        pass
    await trio.sleep(0.02)
    domid = max((int(name) for name in toolstack.store.directory("/local/domain")), default=0)
    if domid in m.host.domains:
        m.host.domains[domid].die()
    await trio.sleep(0.02)
    for path in (f"/local/domain/0/backend/vdispl/{domid}", f"/libxl/{domid}"):
        toolstack.store.remove(path)
    if domid != DOM0:
        toolstack.store.remove(f"/local/domain/{domid}")
    await nothing_is_left(m, domid)
    return count < number
