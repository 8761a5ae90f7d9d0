# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast frames are copied and converted, against libc's memcpy on the same memory."""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from xendisplback.protocol.formats import FORMATS, fourcc
from xendisplback.scanout.copier import CopyJob, choose_copy

WIDTH, HEIGHT = 1920, 1080
FRAMES = 8
"""So many of each, 126 MiB in all: no cache holds them, as none holds what a guest drew."""
ROUNDS = 8

_libc = ctypes.CDLL(None)
_libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


@dataclass(frozen=True, slots=True)
class Speed:
    name: str
    milliseconds: float
    """Per 1920x1080 frame, the best of all rounds."""
    share: float
    """Of memcpy, by time, for a frame of XRGB8888."""


def _best(works: Mapping[str, Callable[[int], object]]) -> dict[str, float]:
    """Seconds per frame of each one's fastest round. Rounds take turns: a machine's speed drifts."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.perf_counter()
            for frame in range(FRAMES):
                work(frame)
            best[name] = min(best[name], (time.perf_counter() - started) / FRAMES)
    return best


def measure_copies() -> list[Speed]:
    """memcpy first, then each format to XRGB8888."""
    size = WIDTH * HEIGHT * 4
    choose_copy()
    with mmap.mmap(-1, size * FRAMES) as sources, mmap.mmap(-1, size * FRAMES) as targets:
        for memory in (sources, targets):
            memory.write(b"\x55" * (size * FRAMES))
        source = _address(sources)
        target = _address(targets)
        works: dict[str, Callable[[int], object]] = {
            "memcpy": lambda f: _libc.memcpy(target + f * size, source + f * size, size)
        }
        for format in FORMATS.values():
            pitch = WIDTH * format.bytes_per_pixel
            jobs = [
                CopyJob(
                    source + frame * size,
                    pitch,
                    target + frame * size,
                    WIDTH * 4,
                    WIDTH,
                    HEIGHT,
                    format.fourcc,
                    fourcc("XR24"),
                )
                for frame in range(FRAMES)
            ]
            works[format.kernel_name] = partial(_run, jobs)
        best = _best(works)
        return [Speed(name, took * 1e3, best["memcpy"] / took) for name, took in best.items()]


def _run(jobs: Sequence[CopyJob], frame: int) -> None:
    jobs[frame].run()


def _address(memory: mmap.mmap) -> int:
    # Through a view that is dropped at once: a memory with views can't be closed.
    view = (ctypes.c_char * 1).from_buffer(memory)
    try:
        return ctypes.addressof(view)
    finally:
        del view
