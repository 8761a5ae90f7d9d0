# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumb buffers as dma-bufs: what is given back, and in which order. on_device.py has the real thing."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from dataclasses import dataclass, field

import pytest

from tests.kms.test_device import FakeDevice
from xendisplback.errors import HostError
from xendisplback.kms.dumb import DumbMemory

PITCH, HEIGHT = 100, 50
WHOLE_PAGES = 8192


@dataclass
class Driver:
    """Allocates page-aligned process memory full of another's picture; ``refuse`` names calls that fail."""

    refuse: tuple[str, ...] = ()
    calls: list[str] = field(default_factory=list[str])
    exported: int = -1

    def __post_init__(self) -> None:
        self.memory = mmap.mmap(-1, WHOLE_PAGES)
        self.memory.write(b"\xa5" * WHOLE_PAGES)

    def device(self) -> FakeDevice:
        names = [name for name in dir(self) if name.startswith(("drm", "xdb_"))]
        return FakeDevice(**{name: getattr(self, name) for name in names})

    def _done(self, name: str) -> int:
        self.calls.append(name)
        return -errno.ENOSYS if name in self.refuse else 0

    def drmModeCreateDumbBuffer(
        self,
        fd: int,
        width: int,
        height: int,
        bpp: int,
        flags: int,
        handle: list[int],
        pitch: list[int],
        size: list[int],
    ) -> int:
        handle[0], pitch[0], size[0] = 5, PITCH, PITCH * HEIGHT
        return self._done("create")

    def drmModeMapDumbBuffer(self, fd: int, handle: int, offset: list[int]) -> int:
        return 0

    def xdb_map(self, fd: int, size: int, offset: int, address: list[int]) -> int:
        address[0] = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        return self._done(f"map {size}")

    def xdb_unmap(self, address: int, size: int) -> int:
        return self._done(f"unmap {size}")

    def drmPrimeHandleToFD(self, fd: int, handle: int, flags: int, dmabuf: list[int]) -> int:
        assert flags == os.O_CLOEXEC | os.O_RDWR
        result = self._done("export")
        if result == 0:
            dmabuf[0] = self.exported = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        return result

    def drmModeDestroyDumbBuffer(self, fd: int, handle: int) -> int:
        return self._done("destroy")


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_memory_is_whole_pages_and_zeroed_to_their_end() -> None:
    driver = Driver()
    memory = DumbMemory(driver.device(), 25, HEIGHT, 32)
    assert (memory.pitch, memory.size) == (PITCH, WHOLE_PAGES)
    assert ctypes.string_at(memory.address, memory.size) == bytes(WHOLE_PAGES)
    memory.close()


def test_memory_has_no_handle_once_it_is_a_dmabuf_and_closes_once() -> None:
    driver = Driver()
    memory = DumbMemory(driver.device(), 25, HEIGHT, 32)
    assert driver.calls == ["create", f"map {WHOLE_PAGES}", "export", "destroy"]
    assert memory.fd == driver.exported
    memory.close()
    memory.close()
    assert driver.calls[4:] == [f"unmap {WHOLE_PAGES}"]
    assert not is_open(driver.exported)


def test_a_driver_that_exports_nothing_keeps_nothing() -> None:
    driver = Driver(refuse=("export",))
    with pytest.raises(HostError, match="fake exports no dma-buf") as caught:
        DumbMemory(driver.device(), 25, HEIGHT, 32)
    assert (caught.value.call, caught.value.errno) == ("drmPrimeHandleToFD", errno.ENOSYS)
    assert driver.calls[-2:] == [f"unmap {WHOLE_PAGES}", "destroy"]


def test_a_handle_that_stays_leaves_no_file_and_no_mapping() -> None:
    driver = Driver(refuse=("destroy",))
    with pytest.raises(HostError) as caught:
        DumbMemory(driver.device(), 25, HEIGHT, 32)
    assert caught.value.call == "drmModeDestroyDumbBuffer"
    assert driver.calls[-1] == f"unmap {WHOLE_PAGES}"
    assert not is_open(driver.exported)
