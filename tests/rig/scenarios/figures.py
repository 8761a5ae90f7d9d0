# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flip costs. Times under emulation mean nothing by themselves; counts do."""

from __future__ import annotations

import time

from tests.rig.daemon import SystemCalls
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

FLIPS = 200
# Issue 2, section 10.
SYSTEM_CALLS_PER_FLIP = 14.0


@scenario(240)
def system_calls(rig: Rig) -> str:
    """At most 14 system calls a flip in copy mode, all threads (strace -f -c over 200 flips)."""
    guest = rig.guest_up("a")
    guest.ask("mode 0 800x600 XR24")
    guest.flip(20)
    with SystemCalls(rig.dom0, rig.daemon.pid()) as calls:
        guest.flip(FLIPS)
    per_flip = calls.total / FLIPS
    expect(per_flip <= SYSTEM_CALLS_PER_FLIP, f"{per_flip:.1f} a flip:\n{calls.table}")
    busiest = [line.split() for line in calls.table.splitlines()[2:8]]
    names = " ".join(f"{row[-1]} {int(row[3]) / FLIPS:.2f}" for row in busiest if len(row) >= 5)
    return f"{per_flip:.1f} a flip: {names}"


@scenario(240)
def cpu_and_memory(rig: Rig) -> str:
    """CPU time of a flip, and what the daemon holds in memory."""
    guest = rig.guest_up("a")
    guest.ask("mode 0 800x600 XR24")
    guest.flip(20)
    before = rig.daemon.cpu_nanoseconds()
    guest.flip(FLIPS)
    flips = (rig.daemon.cpu_nanoseconds() - before) / FLIPS / 1e6
    guest.ask("off 0")
    before = rig.daemon.cpu_nanoseconds()
    started = time.monotonic()
    guest.shell("sleep 5")
    idle = rig.daemon.cpu_nanoseconds() - before
    share = idle / 1e7 / (time.monotonic() - started)
    resident = rig.daemon.resident_kib() / 1024
    return (
        f"{flips:.2f} ms of emulated CPU a flip, {share:.1f} % with the screen off,"
        f" {resident:.1f} MiB resident"
    )
