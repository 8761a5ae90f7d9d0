# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast frames are copied and converted, against libc's memcpy of a frame of XRGB8888 in the same rounds.

Cold: every frame comes from memory that no cache holds, as none holds what a guest drew long ago. Warm: the same
frame again and again, as far as the caches hold it. A guest's frames are somewhere between.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles

from xendisplback.protocol.formats import FORMATS, Format, fourcc
from xendisplback.scanout.copy_job import CopyJob, choose_copy

Size = tuple[int, int]
SIZES: tuple[Size, ...] = ((800, 600), (1280, 800), (1920, 1080))
COLD_BYTES = 64 << 20
"""Of sources and as many of targets: more than the caches."""
WARM_FRAMES = 8
ROUNDS = 9

_libc = ctypes.CDLL(None)
_libc.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


@dataclass(frozen=True, slots=True)
class Speed:
    name: str
    milliseconds: float
    """Per frame, the median of all rounds; half of them were from ``low`` to ``high``."""
    low: float
    high: float
    share: float
    """Of memcpy's speed, as frames; the median of all rounds."""
    with_digest: float
    """Milliseconds per frame when the digest of what is copied is taken, too; memcpy takes none."""


def _rounds(
    works: Mapping[str, Callable[[int], object]], frames: int, prepare: int
) -> dict[str, list[float]]:
    """Seconds per frame of each one in each round. Rounds take turns: a machine's speed drifts.

    ``prepare`` frames before those that are measured bring them into the caches.
    """
    took: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            for frame in range(prepare):
                work(frame)
            started = time.perf_counter()
            for frame in range(frames):
                work(frame)
            took[name].append((time.perf_counter() - started) / frames)
    return took


def measure_copies(size: Size = SIZES[-1], *, warm: bool = False) -> list[Speed]:
    """memcpy first, then each format to XRGB8888, in frames of ``size`` pixels."""
    width, height = size
    bytes_per_frame = width * height * 4
    count = 1 if warm else COLD_BYTES // bytes_per_frame
    choose_copy()
    with _memory(count * bytes_per_frame) as source, _memory(count * bytes_per_frame) as target:
        places = [
            (source + i * bytes_per_frame, target + i * bytes_per_frame) for i in range(count)
        ]

        def copy(frame: int) -> None:
            from_, to = places[frame % count]
            _libc.memcpy(to, from_, bytes_per_frame)

        works: dict[str, Callable[[int], object]] = {"memcpy": copy}
        for format in FORMATS.values():
            jobs = [_job(place, size, format) for place in places]
            works[format.kernel_name] = partial(_run, jobs)
            works[_digested(format.kernel_name)] = partial(_run_and_digest, jobs)
        took = _rounds(works, WARM_FRAMES if warm else count, 2 if warm else 0)
    names = ["memcpy", *(format.kernel_name for format in FORMATS.values())]
    return [_speed(name, took) for name in names]


def _digested(name: str) -> str:
    return f"{name} with digest"


def _speed(name: str, took: Mapping[str, Sequence[float]]) -> Speed:
    seconds = took[name]
    low, _, high = quantiles(seconds, n=4)
    return Speed(
        name,
        median(seconds) * 1e3,
        low * 1e3,
        high * 1e3,
        median(memcpy / own for memcpy, own in zip(took["memcpy"], seconds, strict=True)),
        median(took.get(_digested(name), seconds)) * 1e3,
    )


def _job(place: tuple[int, int], size: Size, format: Format) -> CopyJob:
    source, target = place
    width, height = size
    pitch = width * format.bytes_per_pixel
    return CopyJob(source, pitch, target, width * 4, width, height, format.fourcc, fourcc("XR24"))


def _run(jobs: Sequence[CopyJob], frame: int) -> None:
    jobs[frame % len(jobs)].run()


def _run_and_digest(jobs: Sequence[CopyJob], frame: int) -> None:
    jobs[frame % len(jobs)].run_and_digest()


@contextlib.contextmanager
def _memory(size: int) -> Generator[int]:
    """The address of memory that is there, not merely promised."""
    with mmap.mmap(-1, size) as memory:
        memory.write(b"\x55" * size)
        # Through a view that is dropped at once: a memory with views can't be closed.
        view = (ctypes.c_char * 1).from_buffer(memory)
        address = ctypes.addressof(view)
        del view
        yield address


def print_copies() -> None:
    """All sizes, cold and warm."""
    print(
        "Copies to XRGB8888, ms per frame: median (half of the rounds), share of memcpy, with digest"
    )
    for width, height in SIZES:
        for warm in (False, True):
            print(f"  {width}x{height} {'warm' if warm else 'cold'}")
            for speed in measure_copies((width, height), warm=warm):
                spread = f"({speed.low:.3f} to {speed.high:.3f})"
                digest = "" if speed.name == "memcpy" else f"  {speed.with_digest:6.3f}"
                print(
                    f"    {speed.name:9} {speed.milliseconds:6.3f} {spread:16}  {speed.share:5.0%}{digest}"
                )


if __name__ == "__main__":
    print_copies()
