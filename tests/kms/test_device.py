# SPDX-License-Identifier: GPL-2.0-or-later
"""What operators are told when a card can't be used, and what is released when a call fails.

Some libdrm calls are made up here; the others are real, on a bad file descriptor.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from xendisplback._ext import load_drm
from xendisplback.errors import HostError
from xendisplback.kms.atomic import AtomicReq, PreparedCommit
from xendisplback.kms.card import Card, NoKms
from xendisplback.kms.crtc import Crtc
from xendisplback.kms.device import Device
from xendisplback.kms.framebuffer import Framebuffer
from xendisplback.kms.geometry import Geometry
from xendisplback.kms.prime import PrimeImports
from xendisplback.kms.properties import PropertyTables

if TYPE_CHECKING:
    from xendisplback._ext._drm import Lib, xdb_commit

HANDLE = 7
GEOMETRY = Geometry(8, 8, 32, 0, int.from_bytes(b"XR24", "little"))


def returns(value: object) -> Callable[..., object]:
    def call(*arguments: object) -> object:
        return value

    return call


class FakeLib:
    def __init__(self, calls: dict[str, Callable[..., object]]) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> object:
        return self._calls.get(name) or getattr(load_drm().lib, name)


class FakeDevice(Device):
    def __init__(self, **calls: Callable[..., object]) -> None:
        self.lib = cast("Lib", FakeLib(calls))
        self.ffi = load_drm().ffi
        self.path = "/dev/dri/card0"
        self.driver = "fake"
        self.fd = 1 << 20
        self.leased = False

    def close(self) -> None:
        self.fd = -1


def open_fake(monkeypatch: pytest.MonkeyPatch, **calls: Callable[..., object]) -> Card:
    crtcs = load_drm().ffi.new("uint32_t[]", [40])
    resources = SimpleNamespace(count_crtcs=1, crtcs=crtcs, count_connectors=0, count_fbs=0)

    working: dict[str, Callable[..., object]] = {
        "drmModeGetResources": returns(resources),
        "drmModeFreeResources": returns(None),
        "drmSetMaster": returns(0),
        "drmSetClientCap": returns(0),
        **calls,
    }
    device = FakeDevice(**working)
    monkeypatch.setattr("xendisplback.kms.card.Device", returns(device))
    return Card("/dev/dri/card0")


def test_no_atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    atomic = load_drm().lib.DRM_CLIENT_CAP_ATOMIC

    def set_cap(fd: int, cap: int, value: int) -> int:
        return -1 if cap == atomic else 0

    with pytest.raises(HostError, match=r"no atomic: fake.*nouveau\.atomic=1"):
        open_fake(monkeypatch, drmSetClientCap=set_cap)


def test_no_dumb_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match=r"card without dumb buffers: fake.*use another card"):
        open_fake(monkeypatch)


def test_no_crtc_is_no_kms(monkeypatch: pytest.MonkeyPatch) -> None:
    none = SimpleNamespace(count_crtcs=0, count_connectors=0, count_fbs=0)
    with pytest.raises(NoKms, match="no KMS: fake has no displays"):
        open_fake(monkeypatch, drmModeGetResources=returns(none))


def test_not_master(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match=r"not DRM master.*stop the compositor"):
        open_fake(monkeypatch, drmSetMaster=returns(-1))


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENXIO])
def test_a_vanished_device_keeps_its_errno(number: int) -> None:
    with pytest.raises(HostError, match="the display device is gone") as caught:
        FakeDevice().check(-number, "drmModeRmFB")
    assert caught.value.errno == number


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ENXIO, errno.EIO])
def test_a_vanished_device_has_nothing_to_release(number: int) -> None:
    FakeDevice().check_release(-number, "drmModeRmFB")
    with pytest.raises(HostError, match="fake refused"):
        FakeDevice().check_release(-errno.EINVAL, "drmModeRmFB")


def test_a_refused_framebuffer_leaves_its_memory_to_who_made_it() -> None:
    ended: list[str] = []
    with pytest.raises(HostError) as caught:
        Framebuffer(FakeDevice(), HANDLE, GEOMETRY, set(), lambda: ended.append("unmapped"))
    assert caught.value.errno == errno.EBADF
    assert ended == []


def test_a_framebuffer_is_removed_before_its_memory_is_unmapped_and_once() -> None:
    ended: list[str] = []

    def remove(fd: int, framebuffer: int) -> int:
        ended.append("removed")
        return 0

    device = FakeDevice(drmModeAddFB2=returns(0), drmModeRmFB=remove)
    own_ids: set[int] = set()
    framebuffer = Framebuffer(device, HANDLE, GEOMETRY, own_ids, lambda: ended.append("unmapped"))
    assert own_ids == {framebuffer.id}
    framebuffer.close()
    framebuffer.close()
    assert ended == ["removed", "unmapped"]


def test_an_import_has_its_handle_for_as_long_as_a_framebuffer_is_made_of_it() -> None:
    closed: list[int] = []

    def take(fd: int, dmabuf: int, handle: list[int]) -> int:
        handle[0] = 5
        return 0

    def close(fd: int, handle: int) -> int:
        closed.append(handle)
        return 0

    imports = PrimeImports(FakeDevice(drmPrimeFDToHandle=take, drmCloseBufferHandle=close))
    with imports.handle(9) as handle:
        assert (handle, closed) == (5, [])
    assert closed == [5]
    with pytest.raises(ZeroDivisionError), imports.handle(9):
        _ = 1 // 0
    assert closed == [5, 5]


def request(device: Device) -> AtomicReq:
    tables = PropertyTables(device)
    tables.put(40, [], [])
    return AtomicReq(device, tables, set())


def test_an_unknown_property_is_named() -> None:
    with pytest.raises(HostError, match="fake: KMS object 40 has no property ACTIVE"):
        request(FakeDevice()).add(Crtc(40, 0), {"ACTIVE": 1})


def test_a_commit_tells_the_drivers_errno() -> None:
    with pytest.raises(HostError, match="fake refused a commit") as caught:
        request(FakeDevice()).commit()
    assert caught.value.errno == errno.EBADF


def test_a_test_says_no_but_raises_when_the_device_is_gone() -> None:
    assert not request(FakeDevice()).test()
    gone = FakeDevice(xdb_commit_submit=returns(-errno.ENODEV))
    with pytest.raises(HostError, match="gone"):
        request(gone).test()


def test_a_commit_is_laid_out_object_by_object() -> None:
    seen: list[xdb_commit] = []

    def submit(commits: object, count: int) -> int:
        assert count == 1
        # In C an array of pointers to nothing in particular.
        seen.append(
            cast("Any", load_drm().ffi).cast("struct xdb_commit *", cast("Any", commits)[0])
        )
        return 0

    device = FakeDevice(xdb_commit_submit=submit)
    commit = PreparedCommit(device, {30: {1: 10, 2: -1}, 40: {3: 12}}, flags=0x200)
    assert commit.submit() == 0
    laid_out, ffi = seen[0], device.ffi
    assert laid_out.flags == 0x200
    assert ffi.unpack(laid_out.objects, laid_out.count_objects) == [30, 40]
    assert ffi.unpack(laid_out.property_counts, 2) == [2, 1]
    assert ffi.unpack(laid_out.properties, 3) == [1, 2, 3]
    assert ffi.unpack(laid_out.values, 3) == [10, (1 << 64) - 1, 12]
