# SPDX-License-Identifier: GPL-2.0-or-later
"""What a backend's process in dom0 spends on a guest's page flips, whoever wrote the backend.

The guest flips as fast as it may: the next flip follows the last one's event. CPU time is the process's own clock
(all threads, user and system, to the nanosecond), read without strace; system calls are counted by strace in
flips of their own, because it makes them slow.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import pairwise

from tests.rig.daemon import SystemCalls
from tests.rig.dom0_link import Dom0
from tests.rig.guests import Guest

# The first flips fill caches and translate code in QEMU.
WARM_FLIPS = 30
# CPU time is the median of so many runs: what else the host does comes in bursts, and emulated time counts it.
WINDOWS = 5
# Only where dom0's clock is not stable, as x86's under emulation, is this a system call and not the vDSO's.
CLOCK = "clock_gettime"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one flip: ``system_calls`` by name; nanoseconds of CPU; ``system_share`` is the kernel's part of them."""

    system_calls: dict[str, float]
    cpu_ns: float
    system_share: float
    flips_per_second: float
    threads: int
    resident_kib: int

    @property
    def total_system_calls(self) -> float:
        """Without readings of the clock."""
        return sum(count for name, count in self.system_calls.items() if name != CLOCK)

    @property
    def busiest(self) -> str:
        names = sorted(self.system_calls.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {count:.2f}" for name, count in names if count >= 0.01)


def measure(dom0: Dom0, guest: Guest, pid: int, *, flips: int, traced: int) -> Cost:
    """``flips`` flips for CPU and pace, then ``traced`` ones under strace, of a guest that has set a mode."""
    guest.flip(WARM_FLIPS)
    each = flips // WINDOWS
    ticks, clock = _ticks(dom0, pid), [_cpu_ns(dom0, pid)]
    microseconds: list[int] = []
    for _ in range(WINDOWS):
        microseconds.append(guest.flip(each).mean)
        clock.append(_cpu_ns(dom0, pid))
    user, system = (after - before for before, after in zip(ticks, _ticks(dom0, pid), strict=True))
    status = dict(
        line.split(":\t", 1) for line in dom0.get(f"/proc/{pid}/status").decode().splitlines()
    )
    return Cost(
        system_calls=count_system_calls(dom0, guest, pid, traced),
        cpu_ns=statistics.median(after - before for before, after in pairwise(clock)) / each,
        system_share=system / max(1, user + system),
        flips_per_second=1e6 / statistics.median(microseconds),
        threads=int(status["Threads"]),
        resident_kib=int(status["VmRSS"].split()[0]),
    )


def count_system_calls(dom0: Dom0, guest: Guest, pid: int, flips: int) -> dict[str, float]:
    """Of all threads, per flip, by name (strace -f -c)."""
    with SystemCalls(dom0, pid) as calls:
        guest.flip(flips)
    return {name: count / flips for name, count in calls.counts.items()}


def _cpu_ns(dom0: Dom0, pid: int) -> int:
    # The clock of another process: linux/posix-timers.h, CPUCLOCK_SCHED is 2. /proc has it in steps of 10 ms only.
    program = f"import time; print(time.clock_gettime_ns((~{pid} << 3) | 2))"
    return int(dom0.run("python3", "-c", program).out)


def _ticks(dom0: Dom0, pid: int) -> tuple[int, int]:
    """User and system, in steps of 10 ms."""
    # Behind the name, which may hold anything: state is the first field, utime and stime the 12th and 13th.
    fields = dom0.get(f"/proc/{pid}/stat").decode().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])
