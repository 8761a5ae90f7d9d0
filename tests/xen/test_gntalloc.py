# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of ours that guests map: gntalloc's file, and what is said where there is none."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from xendisplback._ext import load_xen
from xendisplback.errors import HostError
from xendisplback.xen import gntalloc
from xendisplback.xen.gntalloc import Shared

PAGE = 4096
FIRST_REF = 101


@dataclass
class Kernel:
    """Its gntalloc, with a file on disk in the place of the device."""

    refuse: int = 0
    asked: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    """Domain, flags, pages."""

    def ioctl(self, fd: int, request: int, buffer: bytearray, mutate: bool) -> int:
        assert request == load_xen().lib.IOCTL_GNTALLOC_ALLOC_GREF
        domid, flags, pages = struct.unpack_from("=HHI", buffer)
        assert len(buffer) >= 16 + 4 * pages, "the kernel would write beyond it"
        if self.refuse:
            raise OSError(self.refuse, "refused")
        self.asked.append((domid, flags, pages))
        struct.pack_into(f"=Q{pages}I", buffer, 8, 0, *range(FIRST_REF, FIRST_REF + pages))
        os.ftruncate(fd, pages * PAGE)
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernel:
    device = tmp_path / "gntalloc"
    device.write_bytes(b"")
    kernel = Kernel()
    monkeypatch.setattr(gntalloc, "GNTALLOC", str(device))
    monkeypatch.setattr(fcntl, "ioctl", kernel.ioctl)
    return kernel


def open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("pages", [1, 2, 1025])
def test_pages_are_writable_for_the_guest_and_for_us(kernel: Kernel, pages: int) -> None:
    shared = Shared.allocate(3, pages)
    assert kernel.asked == [(3, load_xen().lib.GNTALLOC_FLAG_WRITABLE, pages)]
    assert shared.refs == list(range(FIRST_REF, FIRST_REF + pages))
    assert shared.length == pages * PAGE
    ctypes.memset(shared.address, 0x5A, shared.length)
    assert os.pread(shared.fd, shared.length, 0) == b"\x5a" * shared.length
    shared.close()


def test_nothing_is_left_open_and_closing_twice_is_closing_once(kernel: Kernel) -> None:
    before = open_files()
    shared = Shared.allocate(3, 2)
    assert not os.get_inheritable(shared.fd)
    shared.close()
    shared.close()
    assert open_files() == before


def test_whoever_holds_the_file_can_map_the_pages_again(kernel: Kernel) -> None:
    before = open_files()
    shared = Shared.allocate(3, 1)
    ctypes.memset(shared.address, 0x11, 4)
    held = os.dup(shared.fd)
    shared.close()
    again = Shared(held, shared.refs)
    assert ctypes.string_at(again.address, 4) == b"\x11" * 4
    again.close()
    assert open_files() == before


def test_the_modules_limit_is_named_when_it_is_reached(kernel: Kernel) -> None:
    before = open_files()
    kernel.refuse = errno.ENOSPC
    with pytest.raises(HostError, match=r"xen_gntalloc/parameters/limit.*1024") as caught:
        Shared.allocate(3, 3)
    assert caught.value.errno == errno.ENOSPC
    assert open_files() == before


def test_no_gntalloc_says_what_to_load() -> None:
    with pytest.raises(HostError, match=r"/dev/xen/gntalloc missing.*modprobe xen-gntalloc"):
        Shared.allocate(3, 1)


def test_no_permission_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "no", path)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(HostError, match="no permission on /dev/xen/gntalloc") as caught:
        Shared.allocate(3, 1)
    assert caught.value.errno == errno.EACCES
