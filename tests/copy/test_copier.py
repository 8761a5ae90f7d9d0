# SPDX-License-Identifier: GPL-2.0-or-later
"""The copier's thread: what it does after the copy, what it announces, and memory that vanishes under it."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator

import pytest

from xendisplback.errors import HostError
from xendisplback.protocol.formats import fourcc
from xendisplback.scanout.copier import Copier, CopyJob

XR24 = fourcc("XR24")
SUBMIT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Commit:
    """A prepared commit that calls Python."""

    def __init__(self, submit: Callable[[], int]) -> None:
        def call(argument: int) -> int:
            return submit() if argument == 42 else -errno.EINVAL

        self.submit = submit
        self._callback = SUBMIT(call)
        self.function = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        self.argument = 42

    def close(self) -> None:
        pass


class Memory:
    def __init__(self, size: int) -> None:
        self.data = (ctypes.c_char * size)()
        self.address = ctypes.addressof(self.data)


def job(source: Memory, target: int) -> CopyJob:
    return CopyJob(source.address, 4096, target, 4096, 1024, 16, XR24, XR24)


@pytest.fixture
def copier() -> Generator[Copier, None, None]:
    made = Copier()
    yield made
    made.close()


def readable(copier: Copier, seconds: float) -> bool:
    return bool(select.select([copier.fd], [], [], seconds)[0])


def test_the_commit_follows_the_copy_in_the_copiers_thread(copier: Copier) -> None:
    source, target = Memory(65536), Memory(65536)
    source.data.raw = os.urandom(65536)
    seen: list[tuple[bool, bool]] = []

    def submit() -> int:
        copied = target.data.raw == source.data.raw
        seen.append((copied, threading.get_ident() != threading.main_thread().ident))
        return 0

    copier.start(job(source, target.address), Commit(submit))
    assert copier.wait() == 0
    assert seen == [(True, True)]
    assert not readable(copier, 0), "the flip event announces a success, not the copier"


def test_a_refused_commit_is_announced_with_its_errno(copier: Copier) -> None:
    source, target = Memory(65536), Memory(65536)
    copier.start(job(source, target.address), Commit(lambda: -errno.EBUSY))
    assert readable(copier, 5)
    assert copier.result() == -errno.EBUSY
    assert copier.result() == 0


def test_the_next_job_may_be_started_from_within_the_commit_of_the_last(copier: Copier) -> None:
    """The flip event can be read before submit() has returned."""
    source, target = Memory(65536), Memory(65536)
    count = 0

    def submit() -> int:
        nonlocal count
        count += 1
        time.sleep(0.001)
        return 0

    commit = Commit(submit)
    for _ in range(50):
        copier.start(job(source, target.address), commit)
    copier.wait()
    assert count == 50


def vanishing_memory() -> mmap.mmap:
    """Memory whose pages are gone, as those of a card that was unplugged."""
    fd = os.memfd_create("card")
    os.ftruncate(fd, 65536)
    memory = mmap.mmap(fd, 65536)
    os.ftruncate(fd, 0)
    os.close(fd)
    return memory


def test_memory_that_vanished_ends_the_copy_not_the_process(copier: Copier) -> None:
    source, memory = Memory(65536), vanishing_memory()
    target = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    submitted: list[int] = []

    def submit() -> int:
        submitted.append(1)
        return 0

    for _ in range(3):
        copier.start(job(source, target), Commit(submit))
        assert readable(copier, 5)
        assert copier.result() == -errno.EFAULT
    assert not submitted
    with pytest.raises(HostError) as caught:
        job(source, target).run()
    assert caught.value.errno == errno.EFAULT


def test_a_bus_error_elsewhere_still_ends_the_process() -> None:
    script = """
import ctypes, mmap, os
from tests.copy.test_copier import Memory, job, vanishing_memory
a, b = Memory(65536), Memory(65536)
job(a, b.address).run()
vanishing_memory()[0]
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=30)
    assert done.returncode == -signal.SIGBUS
