# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flip costs. Times under emulation mean nothing by themselves; counts do.

Beside another backend, in one run: ``python3 -m tests.rig --compare-with`` (comparison.py).
"""

from __future__ import annotations

import re
import time

from tests.rig.comparison import CARDS, Case, cards_present, cases, measure_backend
from tests.rig.comparison_backends import Ours, Way
from tests.rig.comparison_cost import Cost
from tests.rig.controller import controller
from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

FLIPS = 200
# Of all threads, per flip. It needs 7: wait, take the event, respond, commit, unmask; take its end, notify.
SYSTEM_CALLS = {Way.ZERO_COPY: 8.0, Way.COPY: 10.0}
# No grant, no ADDFB2, no property or blob: a commit, and the notifications of response and event.
PER_FLIP = {"DRM_IOCTL_MODE_ATOMIC", "IOCTL_EVTCHN_NOTIFY"}
# The ping to systemd's watchdog, every 15 s, makes its socket non-blocking.
NOW_AND_THEN = {"FIONBIO"}


@scenario(420, machines=(ARM64.name,))
def cost_of_a_flip(rig: Rig) -> str:
    """At most 8 system calls a flip without a copy, 10 with one (strace -f -c), at both sizes; the first card."""
    for name in ("a", "b"):
        rig.guest(name).destroy()
    costs: dict[Case, Cost] = {}
    with cards_present(rig):
        for case in cases(rig.machine.kind):
            if case.card != CARDS[rig.machine.kind.name][0]:
                continue
            costs[case] = cost = measure_backend(rig, Ours(rig.daemon), case, flips=FLIPS // 2)
            figure = f"{case}: {cost.total_system_calls:.2f} system calls a flip ({cost.busiest})"
            expect(cost.total_system_calls <= SYSTEM_CALLS[case.way], figure)
    return "; ".join(
        f"{case}: {cost.total_system_calls:.1f} system calls, {cost.cpu_ns / 1e6:.2f} ms"
        for case, cost in costs.items()
    )


@scenario(240)
def cpu_and_memory(rig: Rig) -> str:
    """CPU time of a flip, and what the daemon holds in memory."""
    # A second guest that stands still would be copied 30 times a second.
    rig.guest("b").destroy()
    guest = rig.guest_up("a")
    guest.ask("mode 0 800x600 XR24")
    guest.flip(20)
    before = rig.daemon.cpu_milliseconds()
    guest.flip(FLIPS)
    flips = (rig.daemon.cpu_milliseconds() - before) / FLIPS
    guest.ask("off 0")
    # It stays lit for 5 s, for a guest that comes back.
    guest.shell("sleep 6")
    before = rig.daemon.cpu_milliseconds()
    started = time.monotonic()
    guest.shell("sleep 5")
    idle = rig.daemon.cpu_milliseconds() - before
    share = idle / 10 / (time.monotonic() - started)
    resident = rig.daemon.resident_kib() / 1024
    return (
        f"{flips:.2f} ms of emulated CPU a flip, {share:.1f} % with the screen off,"
        f" {resident:.1f} MiB resident"
    )


@scenario(180, machines=(ARM64.name,))
def asked_of_the_kernel(rig: Rig) -> str:
    """A flip makes no ioctl but the commit and the notifications: no grant, no ADDFB2, no object."""
    for policy in ("require", "never"):
        toml = f'refresh-rate = 0\n[card."driver:rig-display"]\nzero-copy = "{policy}"\n'
        with (
            controller(rig, "iommu=1 contiguous=1", toml=toml),
            rig.own_guest("z", "HDMI-A-1:800x600") as guest,
        ):
            guest.ask("mode 0 800x600 XR24")
            guest.flip(20)
            asked = ioctls(rig, guest)
        expect(asked - NOW_AND_THEN == PER_FLIP, f"{policy}: a flip asks the kernel for {asked}")
    return " and ".join(sorted(PER_FLIP))


def ioctls(rig: Rig, guest: Guest) -> set[str]:
    """All that the daemon makes during 50 flips, as strace prints them."""
    output = "/tmp/ioctls"
    strace = f"strace -f -e trace=ioctl -o {output} -p {rig.daemon.pid()} 2>/dev/null"
    rig.dom0.shell(f"{strace} </dev/null >/dev/null & sleep 1; echo $! >/tmp/strace.pid")
    guest.flip(50)
    rig.dom0.shell("kill -INT $(cat /tmp/strace.pid); sleep 1")
    return set(re.findall(r"ioctl\(\d+, (\w+)", rig.dom0.get(output).decode()))
