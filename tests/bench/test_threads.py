# SPDX-License-Identifier: GPL-2.0-or-later
"""The figures that ``make bench`` prints are those of the threads that it names."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tests.bench.copies import measure_copies
from tests.bench.threads import (
    all_threads,
    count_system_calls,
    cpu_seconds,
    resident_mib,
)


@contextmanager
def running(work: Callable[[], object]) -> Generator[int, None, None]:
    """A thread that does ``work`` over and over; its id."""
    ids: list[int] = []
    started, stop = threading.Event(), threading.Event()

    def target() -> None:
        ids.append(threading.get_native_id())
        started.set()
        while not stop.is_set():
            work()

    thread = threading.Thread(target=target)
    thread.start()
    started.wait()
    try:
        yield ids[0]
    finally:
        stop.set()
        thread.join()


def test_system_calls_of_one_thread_are_counted() -> None:
    fd = os.eventfd(0)
    written: list[float] = []

    def work() -> None:
        os.eventfd_write(fd, 1)
        written.append(time.monotonic())
        time.sleep(0.005)

    def progress(began: float, ended: float) -> int:
        return sum(began <= moment <= ended for moment in written)

    with running(work) as thread, running(lambda: time.sleep(0.001)):
        traced = count_system_calls({thread}, 0.5, progress)
    os.close(fd)
    assert traced.progress > 10
    assert abs(traced.calls["write"] - traced.progress) <= 2
    assert abs(traced.calls["clock_nanosleep"] - traced.progress) <= 2


def test_cpu_time_of_threads() -> None:
    with running(lambda: sum(range(1000))) as busy, running(lambda: time.sleep(0.01)) as idle:
        assert {busy, idle} <= all_threads()
        before = cpu_seconds({busy}), cpu_seconds({idle})
        time.sleep(0.3)
        after = cpu_seconds({busy}), cpu_seconds({idle})
    assert after[0] - before[0] > 5 * (after[1] - before[1])
    assert cpu_seconds({0}) == 0, "a thread that is not there counts nothing"


def test_memory() -> None:
    assert 10 < resident_mib() < 100_000


def test_copies_are_compared_with_memcpy() -> None:
    speeds = {speed.name: speed for speed in measure_copies()}
    assert speeds["memcpy"].share == 1
    assert speeds["XRGB8888"].milliseconds > 0
    assert len(speeds) == 10
