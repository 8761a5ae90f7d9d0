# SPDX-License-Identifier: GPL-2.0-or-later
"""What ``make bench`` counts, which no busy machine falsifies: a regression fails. Instructions: tests/flip."""

from __future__ import annotations

import pytest
import trio

from tests.bench.buffers import measure_buffers
from tests.bench.flips import count_calls, flipping
from tests.bench.start import measure_start

CALLS = 7.5
"""7 and a little: the loop's timers, and a window that ends within a flip."""
CALLS_OF_MANY = 8.0


@pytest.mark.parametrize("copied", [False, True])
async def test_system_calls_of_a_flip(copied: bool) -> None:
    with trio.fail_after(20):
        async with flipping(1, copied=copied) as scene:
            counts = await count_calls(scene, 1, 1.0)
    assert counts.flips > 20
    assert 6 < counts.calls.median <= CALLS
    # On a busy machine some are for locks that the simulator's threads hold.
    assert counts.futexes < 1, "no thread hands a flip over to another one"
    assert counts.loop <= 0.2, "a flip does not come by Python's loop"
    assert counts.per_flip("poll") <= 1.1
    assert counts.per_flip("read") <= 2.2
    assert counts.per_flip("write") <= 4.2


async def test_a_flip_costs_no_more_among_many_guests() -> None:
    with trio.fail_after(20):
        async with flipping(16, copied=False) as scene:
            counts = await count_calls(scene, 1, 1.0)
    assert counts.flips > 20
    assert 3 < counts.calls.median <= CALLS_OF_MANY
    assert counts.loop <= 0.2


async def test_nothing_is_left_of_buffers() -> None:
    with trio.fail_after(30):
        figures = await measure_buffers(500)
    left = dict(figures.left)
    assert left.pop("objects") < 100
    assert not any(left.values()), left
    assert figures.growth < 2048


async def test_the_start_as_a_process() -> None:
    with trio.fail_after(30):
        start = await measure_start(64)
    assert start.guests == 64
    assert start.resident < 33, "30 with one guest"
    assert len(start.pauses) > 1
