# SPDX-License-Identifier: GPL-2.0-or-later
"""A hostile guest without a frontend's driver beside one that flips: every case of tests/hostile."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.hostile.cases import ALL, Case, play
from tests.hostile.hands import AttackSucceeded
from tests.rig.cache import progress
from tests.rig.dom0_link import RigError
from tests.rig.guests import Guest
from tests.rig.hands import RigHands, at_once, without_frontend
from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import BOTH, expect, scenario
from tests.rig.scenarios.flips import TIMED_OUT

# What tests/hostile/arena.py allows, too.
ALLOWED = "[be-alloc]\nper-domain = 1\n"
CONNECTORS = "Virtual-2:64x48;Virtual-1:64x48"
PATTERN = 5
# Log lines that a case may cause, on average.
CASE_LINES = 60


@scenario(900, machines=BOTH)
def hostile_frontend(rig: Rig) -> str:
    """A choice of attacks: each has its outcome; the other guest flips on, none late, its picture stays exact."""
    # Others on the other machine.
    return _attack(rig, ALL[3 * BOTH.index(rig.machine.kind.name) :: 6])


@scenario(2400, machines=BOTH, on_demand=True)
def hostile_frontend_all(rig: Rig) -> str:
    """All attacks: ten minutes and more."""
    return _attack(rig, ALL)


def _attack(rig: Rig, cases: Sequence[Case]) -> str:
    for name in ("a", "b"):
        rig.guest(name).destroy()
    hostile = Guest(rig.dom0, without_frontend(rig.machine.kind.guest), "hostile", CONNECTORS)
    hostile.destroy()
    with (
        rig.daemon.configured(ALLOWED),
        rig.own_guest("good", "Virtual-1:800x600") as neighbour,
    ):
        _flip(neighbour)
        rig.expect_picture(0, pattern(800, 600, PATTERN))
        since = len(rig.daemon.log())
        try:
            hostile.create()
            hostile.wait_until_up()
            failures = _play(rig, cases, hostile, neighbour)
        finally:
            hostile.destroy()
        rig.no_zombies()
        log = rig.daemon.log()[since:]
        expect(not failures, "; ".join(failures))
        expect(len(log) < CASE_LINES * len(cases), f"{len(log)} lines of log")
        # journalctl's word for a line with control characters.
        spoilt = [line for line in log if "blob data" in line or not line.isprintable()]
        expect(not spoilt, f"control characters in the log: {spoilt}")
        faults = [line for line in log if "fault in xendisplback" in line]
        expect(not faults, str(faults))
        with rig.own_guest("next", "Virtual-2:1024x768") as following:
            following.ask("mode 0 1024x768 XR24")
            rig.expect_picture(1, pattern(1024, 768, 0))
    return f"{len(cases)} cases, {len(log)} lines of log"


def _flip(guest: Guest) -> None:
    """Two buffers with the same picture, so that it is exact whichever is shown."""
    guest.ask("mode 0 800x600 XR24")
    for _ in range(2):
        guest.ask(f"show 0 {PATTERN}")
    guest.ask("flipfree 0")


def _play(rig: Rig, cases: Sequence[Case], hostile: Guest, neighbour: Guest) -> list[str]:
    hands = RigHands(rig.dom0, hostile, neighbour, "Virtual-1")
    failures: list[str] = []
    for item in cases:
        started = time.monotonic()
        try:
            seen = at_once(play(item, hands))
        except (AttackSucceeded, RigError) as error:
            failures.append(f"{item.name}: {error}")
            seen = f"FAILED: {error}"
        flips = _went_on(rig, neighbour, item, failures)
        seconds = time.monotonic() - started
        progress(f"{item.name}: {item.end.value}; {seen} ({seconds:.1f} s, neighbour {flips})")
    progress(f"{hands.asked} orders to the hostile guest")
    return failures


def _went_on(rig: Rig, neighbour: Guest, item: Case, failures: list[str]) -> str:
    try:
        rig.expect_picture(0, pattern(800, 600, PATTERN))
        flips = neighbour.stop()
        neighbour.ask("flipfree 0")
        expect(flips.count > 0, "no flips")
        late = neighbour.kernel_log(TIMED_OUT)
        expect(not late, f"its log: {late}")
    except RigError as error:
        failures.append(f"{item.name}: the neighbour: {error}")
        return str(error)
    return f"{flips.count} flips, {flips.spread}"
