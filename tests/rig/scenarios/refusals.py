# SPDX-License-Identifier: GPL-2.0-or-later
"""What can't be shown is refused, and says why; who has a screen keeps it."""

from __future__ import annotations

from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64
from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

EBUSY = "-16"


@scenario(300)
def held_or_missing_output(rig: Rig) -> str:
    """A held output is refused to a second guest; one that no card has is named, and flips go on without it."""
    holder = rig.guest_up("a")
    holder.ask("mode 0 800x600 XR24")
    since = len(rig.daemon.log())
    other = rig.guest("c", "Virtual-1:640x480;Nowhere-1:640x480")
    other.destroy()
    try:
        modes = other.up().open()
        expect(modes == "2 640x480 640x480", f"connectors of the other guest: {modes!r}")
        held = _refused(other, 0)
        expect(held == EBUSY, f"held: {held}")
        rig.daemon.wait_for_log("held by", since=since)
        other.ask("mode 1 640x480 XR24")
        rig.daemon.wait_for_log("Nowhere-1 is not there", since=since)
        other.ask("show 1 2")
        holder.ask("show 0 6")
        rig.expect_picture(0, pattern(800, 600, 6))
    finally:
        other.destroy()
    return f"held: {held}"


@scenario(300, machines=(ARM64.name,))
def resolution_of_nothing(rig: Rig) -> str:
    """xl takes "0x0" for a resolution; the daemon names it, the guest lives on without a display."""
    since = len(rig.daemon.log())
    guest = rig.guest("z", "Virtual-2:0x0")
    guest.destroy()
    rig.guest("b").destroy()
    rig.serve()
    try:
        created = guest.create()
        guest.wait_until_up()
        line = rig.daemon.wait_for_log("resolution", since=since)
        expect(rig.daemon.state() == "active", "the daemon has ended")
    finally:
        seconds = guest.destroy()
    expect(seconds < 9, f"xl destroy took {seconds:.1f} s: the backend did not answer")
    return f"xl create took {created.seconds:.1f} s; {line}"


def _refused(guest: Guest, index: int) -> str:
    """The errno in the guest's log: its driver lets the mode be set, and only says so."""
    before = len(guest.kernel_log("Failed to enable display"))
    guest.ask(f"mode {index} 640x480 XR24")
    failed = guest.kernel_log("Failed to enable display")[before:]
    expect(len(failed) == 1, f"mode {index} was accepted: {failed}")
    return failed[0].rpartition(": ")[2]
