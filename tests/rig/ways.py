# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way a guest's picture takes to the screen, as the daemon says it, and what stays of it."""

from __future__ import annotations

import re

from tests.rig.dom0_link import RigError
from tests.rig.guests import Guest
from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import expect

ZERO_COPY = "zero copy by"


def shown(rig: Rig, guest: Guest, mode: str, screen: int, *, number: int = 3) -> str:
    """Sets the mode ("800x600 XR24 …"), draws, compares each pixel; returns how the daemon shows it."""
    size, fourcc = mode.split()[:2]
    width, height = map(int, size.split("x"))
    since = len(rig.daemon.log())
    guest.ask(f"mode 0 {mode}", timeout=60)
    guest.ask(f"show 0 {number}", timeout=60)
    rig.expect_picture(screen, pattern(width, height, number, fourcc))
    line = rig.daemon.wait_for_log(": shown on ", since=since)
    return line.partition(f", {fourcc}, ")[2]


def copied(rig: Rig, guest: Guest) -> int:
    """Destroys the guest; pictures that the daemon copied for it."""
    since = len(rig.daemon.log())
    guest.destroy()
    line = rig.daemon.wait_for_log("pictures were copied", since=since)
    found = re.search(r"after (\d+) flips; (\d+) pictures", line)
    if found is None:
        raise RigError(f"not a line about copies: {line!r}")
    return int(found[2])


def nothing_held(rig: Rig) -> None:
    """No dma-buf, no zombie, no grant of a domain that is gone: Xen's own list (debug key g) names none."""
    rig.no_zombies()
    held = rig.dom0.shell("cat /sys/kernel/debug/dma_buf/bufinfo")
    expect("Total 0 objects" in held, f"dma-bufs are left: {held}")
    grants = rig.dom0.shell("xl dmesg -c >/dev/null; xl debug-keys g; sleep 1; xl dmesg")
    alive = set(re.findall(r"^\S+ +(\d+) ", rig.dom0.run("xl", "list").out, re.MULTILINE))
    granting = set(re.findall(r"grant-table for remote d(\d+)", grants))
    expect("gnttab_usage_print_all" in grants, f"not Xen's list of grants: {grants}")
    expect(granting <= alive, f"grants of dead domains {granting - alive} are mapped: {grants}")
