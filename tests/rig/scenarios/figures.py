# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flip costs. Times under emulation mean nothing by themselves; counts do."""

from __future__ import annotations

import re
import time

from tests.rig.controller import controller
from tests.rig.daemon import SystemCalls
from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

FLIPS = 200
# Issue 2, section 10.
SYSTEM_CALLS_PER_FLIP = 14.0
# No grant, no ADDFB2, no property or blob: a commit, and the notifications of response and event.
PER_FLIP = {"DRM_IOCTL_MODE_ATOMIC", "IOCTL_EVTCHN_NOTIFY"}
# The ping to systemd's watchdog, every 15 s, makes its socket non-blocking.
NOW_AND_THEN = {"FIONBIO"}


@scenario(240)
def system_calls(rig: Rig) -> str:
    """At most 14 system calls a flip in copy mode, all threads (strace -f -c over 200 flips)."""
    # strace makes flips so slow here that copies for guests that don't flip come in between.
    with rig.daemon.configured("refresh-rate = 0"):
        calls = _count_system_calls(rig)
    # A system call only where dom0's TSC is not stable, as under emulation; elsewhere the vDSO serves it.
    clock = calls.counts.pop("clock_gettime", 0) / FLIPS
    per_flip = sum(calls.counts.values()) / FLIPS
    busiest = sorted(calls.counts.items(), key=lambda item: -item[1])[:6]
    names = ", ".join(f"{name} {count / FLIPS:.2f}" for name, count in busiest)
    figure = f"{per_flip:.1f} a flip ({names}), and {clock:.1f} times the clock"
    expect(per_flip <= SYSTEM_CALLS_PER_FLIP, figure)
    return figure


def _count_system_calls(rig: Rig) -> SystemCalls:
    guest = rig.guest_up("a")
    guest.ask("mode 0 800x600 XR24")
    guest.flip(20)
    with SystemCalls(rig.dom0, rig.daemon.pid()) as calls:
        guest.flip(FLIPS)
    return calls


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


@scenario(240, machines=(ARM64.name,))
def zero_copy_beside_copy(rig: Rig) -> str:
    """System calls and CPU of a flip, zero copy and copy in one run; what a flip asks of the kernel."""
    figures: list[str] = []
    for name, policy in (("zero copy", "require"), ("copy", "never")):
        toml = f'refresh-rate = 0\n[card."driver:rig-display"]\nzero-copy = "{policy}"\n'
        with (
            controller(rig, "iommu=1 contiguous=1", toml=toml),
            rig.own_guest("z", "HDMI-A-1:800x600") as guest,
        ):
            guest.ask("mode 0 800x600 XR24")
            guest.flip(20)
            before = rig.daemon.cpu_milliseconds()
            guest.flip(FLIPS)
            cpu = (rig.daemon.cpu_milliseconds() - before) / FLIPS
            with SystemCalls(rig.dom0, rig.daemon.pid()) as calls:
                guest.flip(FLIPS)
            asked = ioctls(rig, guest)
        per_flip = sum(calls.counts.values()) / FLIPS
        expect(per_flip <= SYSTEM_CALLS_PER_FLIP, f"{name}: {per_flip:.1f} system calls a flip")
        expect(asked - NOW_AND_THEN == PER_FLIP, f"{name}: a flip asks the kernel for {asked}")
        figures.append(f"{name}: {per_flip:.1f} system calls, {cpu:.2f} ms of emulated CPU")
    return f"{'; '.join(figures)}; no ioctl but {' and '.join(sorted(PER_FLIP))}"


def ioctls(rig: Rig, guest: Guest) -> set[str]:
    """All that the daemon makes during 50 flips, as strace prints them."""
    output = "/tmp/ioctls"
    strace = f"strace -f -e trace=ioctl -o {output} -p {rig.daemon.pid()} 2>/dev/null"
    rig.dom0.shell(f"{strace} </dev/null >/dev/null & sleep 1; echo $! >/tmp/strace.pid")
    guest.flip(50)
    rig.dom0.shell("kill -INT $(cat /tmp/strace.pid); sleep 1")
    return set(re.findall(r"ioctl\(\d+, (\w+)", rig.dom0.get(output).decode()))
