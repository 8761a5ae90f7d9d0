# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that vanishes under a copy, as that of a card that was unplugged."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import signal
import subprocess
import sys

import pytest

from xendisplback.errors import HostError
from xendisplback.protocol.formats import fourcc
from xendisplback.scanout.copy_job import CopyJob

XR24 = fourcc("XR24")


class Memory:
    def __init__(self, size: int) -> None:
        self.data = (ctypes.c_char * size)()
        self.address = ctypes.addressof(self.data)


def job(source: Memory, target: int, *, scaled_height: int = 16) -> CopyJob:
    layout = source.address, 4096, target, 4096, 1024, 16, XR24, XR24
    return CopyJob(*layout, destination_height=scaled_height)


def vanishing_memory() -> mmap.mmap:
    """Memory whose pages are gone, as those of a card that was unplugged."""
    fd = os.memfd_create("card")
    os.ftruncate(fd, 65536)
    memory = mmap.mmap(fd, 65536)
    os.ftruncate(fd, 0)
    os.close(fd)
    return memory


@pytest.mark.parametrize("scaled_height", [16, 9])
def test_memory_that_vanished_ends_the_copy_not_the_process(scaled_height: int) -> None:
    source, memory = Memory(65536), vanishing_memory()
    target = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for _ in range(3):
        with pytest.raises(HostError) as caught:
            job(source, target, scaled_height=scaled_height).run()
        assert caught.value.errno == errno.EFAULT


def test_a_bus_error_elsewhere_still_ends_the_process() -> None:
    script = """
import ctypes, mmap, os
from tests.copy.test_vanishing import Memory, job, vanishing_memory
a, b = Memory(65536), Memory(65536)
job(a, b.address).run()
vanishing_memory()[0]
"""
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=30)
    assert done.returncode == -signal.SIGBUS
