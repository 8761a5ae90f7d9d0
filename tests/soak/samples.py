# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured of this process, which is daemon, guests and simulated host in one, and kept as CSV."""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self

from tests.soak.world import World


@dataclass(frozen=True, slots=True)
class Sample:
    seconds: float
    """Since the start."""
    resident: float
    """MiB, with guests' and cards' memory."""
    anonymous: float
    """MiB of it that is neither a file's nor a guest's."""
    fds: int
    threads: int
    """But for those that trio keeps for later."""
    guests: int
    grants: int
    """Pages of guests that the daemon has mapped or exported."""
    ports: int
    """Event channels, both ends."""
    framebuffers: int
    flips: float
    """Per second, of all guests, since the sample before."""
    latency: float
    """Milliseconds from PG_FLIP to its event, the median since the sample before; 0: no flip."""
    worst: float
    """The longest, likewise."""

    @classmethod
    def take(cls, world: World, seconds: float, since: float) -> Self:
        """``since``: seconds since the one before. Takes the world's latencies."""
        memory = _status()
        latencies = sorted(world.latencies)
        world.latencies.clear()
        return cls(
            round(seconds, 1),
            round(memory["VmRSS"] / 1024, 2),
            round(memory["RssAnon"] / 1024, 2),
            len(os.listdir("/proc/self/fd")),
            _threads(),
            world.guests,
            world.host.memory.mapped(),
            len(world.host.channels.ports),
            world.framebuffers,
            round(len(latencies) / since, 1) if since else 0.0,
            round(1e3 * latencies[len(latencies) // 2], 2) if latencies else 0.0,
            round(1e3 * latencies[-1], 2) if latencies else 0.0,
        )


def _status() -> dict[str, int]:
    """Of /proc/self/status what is in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    split = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) for words in split}


def _threads() -> int:
    idle = sum(thread.name.startswith("Trio thread") for thread in threading.enumerate())
    return len(os.listdir("/proc/self/task")) - idle


def settle() -> None:
    """What is only not collected yet is no growth."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def write_csv(path: Path, samples: list[Sample]) -> None:
    """Raises OSError."""
    lines = [",".join(field.name for field in fields(Sample))]
    lines += [",".join(map(str, asdict(sample).values())) for sample in samples]
    path.write_text("\n".join(lines) + "\n")
