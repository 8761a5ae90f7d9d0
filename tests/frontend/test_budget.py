# SPDX-License-Identifier: GPL-2.0-or-later
"""What guests may use, each and together: over it one request fails, and nobody else notices."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.frontend.conftest import Machines
from xendisplback.config import BudgetSettings, Config
from xendisplback.frontend.budget import Budgets, Kind, OverBudget, Pace
from xendisplback.frontend.lifecycle import Frontend
from xendisplback.protocol.displif import SetConfig
from xendisplback.protocol.xenbus import Observed
from xendisplback.sim.controller import Controller, MemoryNeeds
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest import Guest
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.kernel import SimKernel

PAGES = 469
"""Of 800x600 in 32 bits."""


def budget(**settings: float) -> Config:
    return Config(budget=BudgetSettings(**settings))  # type: ignore[arg-type]


async def refused(guest: Guest) -> int:
    """One more buffer; the errno that it gets."""
    with pytest.raises(GuestError) as caught:
        await guest.create_framebuffer(800, 600)
    return caught.value.errno


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (budget(grants_per_domain=3 * PAGES + 20), "grants-per-domain"),
        (budget(grants_total=3 * PAGES + 20), "grants-total"),
        (budget(buffers_per_domain=3), "buffers-per-domain"),
        (budget(buffers_total=3), "buffers-total"),
        (budget(framebuffers_per_domain=3), "framebuffers-per-domain"),
        (budget(framebuffers_total=3), "framebuffers-total"),
    ],
)
async def test_over_a_budget_one_request_fails_and_the_operator_is_told_once(
    machine: Machines, config: Config, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine(config=config) as m:
        guest = await m.guest()
        frames = [await guest.create_framebuffer(800, 600) for _ in range(3)]
        for _ in range(5):
            assert await refused(guest) == errno.ENOSPC
        told = [record for record in caplog.records if key in record.getMessage()]
        assert [record.levelno for record in told] == [logging.WARNING]
        display = guest.displays[0]
        await display.enable(frames[0])
        await display.flip(frames[1])
        # What is given back can be used again.
        await guest.destroy_framebuffer(frames.pop())
        await guest.create_framebuffer(800, 600)


async def test_what_one_guest_uses_up_the_other_still_has(machine: Machines) -> None:
    async with machine(config=budget(grants_per_domain=2 * PAGES + 20)) as m:
        greedy = await m.guest(name="greedy")
        modest = await m.guest(("HDMI-A-2", "800x600"), name="modest")
        for _ in range(2):
            await greedy.create_framebuffer(800, 600)
        assert await refused(greedy) == errno.ENOSPC
        frame = await modest.create_framebuffer(800, 600)
        await modest.displays[0].enable(frame)
        await modest.displays[0].flip(frame)


async def test_all_of_a_guest_s_devices_have_one_budget(machine: Machines) -> None:
    async with machine(config=budget(connectors_per_domain=1)) as m:
        with trio.move_on_after(1):
            await m.guest(("HDMI-A-1", "800x600"), ("HDMI-A-2", "800x600"))
            raise AssertionError("two connectors were served")
        await m.guest()


async def test_over_the_budget_of_exports_pictures_are_copied(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    kernel = SimKernel(gntdev_dmabuf=True)
    device = DisplayDevice(controller=Controller(needs=MemoryNeeds.CONTIGUOUS, iommu=True))
    caplog.set_level(logging.INFO)
    # Enough for one buffer: two megabytes are 512 pages.
    async with machine([device], budget(memory_per_domain=2), kernel) as m:
        guest = await m.guest()
        display = guest.displays[0]
        frames = [await guest.create_framebuffer(800, 600) for _ in range(2)]
        await display.enable(frames[0])
        await display.flip(frames[1])
        await display.flip(frames[0])
        shown = [r.getMessage() for r in caplog.records if "shown on" in r.getMessage()]
        assert "zero copy by write-combined export" in shown[0]
        assert "by copy" in shown[1]
        assert "[budget]" in shown[1]


async def test_a_full_map_track_table_costs_the_request_and_nothing_else(
    machine: Machines,
) -> None:
    kernel = SimKernel(maptrack=3 * PAGES)
    async with machine(kernel=kernel) as m:
        domain = await m.domain(name="greedy")
        greedy = domain.guest
        modest = await m.guest(("HDMI-A-2", "800x600"), name="modest")
        frame = await modest.create_framebuffer(800, 600)
        await modest.displays[0].enable(frame)
        await greedy.create_framebuffer(800, 600)
        held = m.host.memory.mapped(domain.domid)
        for _ in range(3):
            assert await refused(greedy) == errno.EINVAL
        assert m.host.memory.mapped(domain.domid) == held
        for _ in range(5):
            await modest.displays[0].flip(frame)
        kernel.maptrack = 100 * PAGES
        await greedy.create_framebuffer(800, 600)


async def test_requests_without_end_are_slowed_down_and_flips_are_not(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine(config=budget(requests_per_second=20)) as m:
        guest = await m.guest(("HDMI-A-1", "800x600"), ("HDMI-A-2", "800x600"))
        frame = await guest.create_framebuffer(800, 600)
        await guest.displays[0].enable(frame)
        await guest.displays[0].flip(frame)
        began = trio.current_time()
        for _ in range(50):
            await guest.request(1, SetConfig(0, 0xBAD, 0, 0, 1, 1, 32))
        took = trio.current_time() - began
        assert took > 1, "51 of them at 20 a second, a second's worth at once"
        # C's, whatever else waits.
        began = trio.current_time()
        for _ in range(10):
            await guest.displays[0].flip(frame)
        assert trio.current_time() - began < 0.5
        slowed = [r for r in caplog.records if "requests-per-second" in r.getMessage()]
        assert len(slowed) == 1


async def test_a_state_that_changes_without_end_is_looked_at_seldom_and_in_the_end(
    machine: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    observe = Frontend._observe  # pyright: ignore[reportPrivateUsage]

    async def counted(frontend: Frontend) -> Observed:
        nonlocal looks
        looks += 1
        return await observe(frontend)

    monkeypatch.setattr(Frontend, "_observe", counted)
    async with machine(config=budget(store_events_per_second=10)) as m:
        domain = await m.domain()
        path = f"{domain.guest.path}/state"
        looks, began = 0, trio.current_time()
        for _ in range(500):
            domain.store.write(path, "4")
            await trio.sleep(0.002)
        # And a second's worth at once.
        assert 1 < looks <= 10 * (trio.current_time() - began + 1) + 2
        # The last one is not lost.
        domain.store.write(path, "6")
        with trio.fail_after(3):
            await m.released(domain.domid)


def test_all_of_a_domain_s_devices_have_one_rate() -> None:
    budgets = Budgets(BudgetSettings())
    one = budgets.of(1)
    assert budgets.of(1) is one
    assert budgets.of(2).requests is not one.requests


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.floats(1, 1000), st.lists(st.floats(0, 2), min_size=1, max_size=200))
def test_no_more_than_the_rate_and_a_second_s_worth_pass(rate: float, gaps: list[float]) -> None:
    clock = Clock()
    pace = Pace(rate, clock)
    for count, gap in enumerate(gaps, 1):
        clock.now += gap
        clock.now += pace.take()
        assert count <= rate * (clock.now + 1) + 1 + 1e-6 * count


AMOUNTS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 40), st.booleans()))


@given(AMOUNTS)
def test_nothing_is_lost_or_taken_over_the_limit(steps: list[tuple[int, int, bool]]) -> None:
    budgets = Budgets(BudgetSettings(grants_per_domain=50, grants_total=90))
    held: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def sums() -> Mapping[int, int]:
        return {domid: sum(amounts) for domid, amounts in held.items()}

    for domid, amount, give in steps:
        if give and held[domid]:
            budgets.of(domid).give(Kind.GRANTS, held[domid].pop())
        else:
            fits = sums()[domid] + amount <= 50 and sum(sums().values()) + amount <= 90
            try:
                budgets.of(domid).take(Kind.GRANTS, amount)
            except OverBudget:
                assert not fits
            else:
                assert fits
                held[domid].append(amount)
        assert {domid: budgets.used(Kind.GRANTS, domid) for domid in held} == sums()
