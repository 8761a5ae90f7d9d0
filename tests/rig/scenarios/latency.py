# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's flips while others make work: from the guest's request to its event, by the guest's own clock.

Under emulation all guests and dom0 share two host cores, so some of the delay is the emulator's.
"""

from __future__ import annotations

from tests.rig.controller import controller
from tests.rig.guests import Flips, Guest
from tests.rig.machines.arm64 import ARM64
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

FLIPS = 200
ROUNDS = 40
FRAME = 1e6 / 60


@scenario(400, machines=(ARM64.name,))
def flips_beside_others_work(rig: Rig) -> str:
    """A zero-copy guest beside one that creates and destroys buffers all the time, and one that is copied."""
    rig.guest("b").destroy()
    with (
        controller(rig, "iommu=1 contiguous=1"),
        rig.own_guest("z", "HDMI-A-1:800x600") as guest,
        rig.own_guest("w", "Virtual-1:1280x800") as other,
    ):
        guest.ask("mode 0 800x600 XR24")
        guest.flip(20)
        alone = guest.flip(FLIPS)
        other.ask("mode 0 1280x800 XR24", timeout=60)
        guest.ask("flipfree 0")
        rounds = other.rounds(ROUNDS)
        beside_rounds = guest.stop()
        expect(not rounds.failures, str(rounds.failures))
        copied = _beside_copies(guest, other)
        timed_out = guest.kernel_log("timed-out")
    for flips in (beside_rounds, copied):
        expect(flips.count > 20, f"the guest stood still: {flips}")
        expect(flips.median < alone.median + FRAME, f"{flips.spread} instead of {alone.spread}")
    expect(not timed_out, str(timed_out))
    return (
        f"alone: {alone.spread}; beside {ROUNDS} new buffers of 1280x800: {beside_rounds.spread};"
        f" beside copies of 1280x800: {copied.spread}"
    )


def _beside_copies(guest: Guest, other: Guest) -> Flips:
    guest.ask("flipfree 0")
    other.flip(FLIPS // 2)
    return guest.stop()
