# SPDX-License-Identifier: GPL-2.0-or-later
"""Imported framebuffers: what a controller wants of their memory, and what it shows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.sim.kit import PICTURE, SIZE, Bench, flip_to
from xendisplback.errors import HostError
from xendisplback.host import ExportKind
from xendisplback.kms.geometry import Geometry
from xendisplback.protocol.formats import fourcc
from xendisplback.sim.controller import MemoryNeeds
from xendisplback.sim.device import DisplayDevice

PLAIN, WRITE_COMBINED, COHERENT = ExportKind
IMPORT, ADDFB = "drmPrimeFDToHandle", "drmModeAddFB2"
PIXELS = SIZE[0] * SIZE[1] * 4


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench.new(DisplayDevice(formats=["XR24", "RG16"]))
    yield bench
    bench.close()


def refused(bench: Bench, fd: int, geometry: Geometry = PICTURE) -> tuple[str | None, int | None]:
    with pytest.raises(HostError) as caught:
        bench.card.import_framebuffer(fd, geometry)
    assert bench.device.framebuffers == 0
    return caught.value.call, caught.value.errno


def refused_or_right(bench: Bench, kind: ExportKind) -> int | None:
    """The errno of the import, or None if the picture is shown as it is in the buffer."""
    buffer = bench.buffer()
    export = bench.export(buffer, kind)
    try:
        framebuffer = bench.card.import_framebuffer(export.fd, PICTURE)
    except HostError as error:
        assert error.call == IMPORT
        return error.errno
    else:
        bench.modeset(framebuffer).commit(allow_modeset=True)
        assert bench.shown() == bytes(buffer.pixels)
        framebuffer.close()
        return None
    finally:
        export.close()


def test_the_screen_shows_the_guests_pages_without_a_copy(bench: Bench) -> None:
    buffer = bench.buffer()
    export = bench.export(buffer)
    framebuffer = bench.card.import_framebuffer(export.fd, PICTURE)
    bench.modeset(framebuffer).commit(allow_modeset=True)
    assert bench.shown() == bytes(buffer.pixels)
    buffer.pixels[:] = b"\x11\x22\x33\x00" * (PIXELS // 4)
    assert bench.shown() == bytes(buffer.pixels), "drawn after the commit"
    assert flip_to(bench.card, framebuffer) == 0
    framebuffer.close()
    assert not any(bench.shown()), "RMFB of what is on screen"
    export.close()


def test_pitch_offset_and_format(bench: Bench) -> None:
    width, height = SIZE
    pitch, offset = 2 * width + 32, 96
    buffer = bench.buffer(offset + pitch * height)
    for row in range(height):
        start = offset + row * pitch
        buffer.pixels[start : start + 2 * width] = b"\x00\xf8" * (width - 1) + b"\x1f\x00"
    export = bench.export(buffer)
    geometry = Geometry(width, height, pitch, offset, fourcc("RG16"))
    framebuffer = bench.card.import_framebuffer(export.fd, geometry)
    bench.modeset(framebuffer).commit(allow_modeset=True)
    assert bench.shown() == (b"\0\0\xff\0" * (width - 1) + b"\xff\0\0\0") * height
    framebuffer.close()
    export.close()


def test_what_addfb2_refuses(bench: Bench) -> None:
    export = bench.export(bench.buffer())
    bench.device.controller.pitch_align = 512
    for geometry in (
        replace(PICTURE, offset=4),
        replace(PICTURE, pitch=PICTURE.pitch - 512),
        replace(PICTURE, width=600, pitch=2400),
        replace(PICTURE, format=fourcc("XR15")),
    ):
        assert refused(bench, export.fd, geometry) == (ADDFB, errno.EINVAL), geometry
    export.close()
    assert bench.machine.mapped() == 0, "a refused framebuffer holds nothing"


def test_a_driver_without_prime_import(bench: Bench) -> None:
    assert bench.card.can_import
    bench.device.controller.can_import = False
    assert not bench.card.can_import
    export = bench.export(bench.buffer())
    assert refused(bench, export.fd) == (IMPORT, errno.ENOSYS)
    export.close()


def test_what_is_no_dma_buf(bench: Bench) -> None:
    fd = os.eventfd(0)
    assert refused(bench, fd) == (IMPORT, errno.EINVAL)
    os.close(fd)


@pytest.mark.parametrize(
    ("needs", "number"),
    [
        (MemoryNeeds.ANY, None),
        (MemoryNeeds.CONTIGUOUS, errno.EINVAL),
        (MemoryNeeds.SWIOTLB, errno.ENOMEM),
    ],
)
def test_contiguous_for_the_controller_or_not(
    bench: Bench, needs: MemoryNeeds, number: int | None
) -> None:
    bench.device.controller.needs = needs
    for kind in ExportKind:
        assert refused_or_right(bench, kind) == number, "no IOMMU: machine addresses count"
    bench.device.controller.iommu = True
    assert refused_or_right(bench, PLAIN) == number
    assert refused_or_right(bench, WRITE_COMBINED) is None
    assert refused_or_right(bench, COHERENT) is None
    bench.device.controller.iommu = False
    bench.memory.contiguous = True
    assert refused_or_right(bench, PLAIN) is None


def test_swiotlb_takes_a_few_scattered_pages(bench: Bench) -> None:
    bench.device.controller.needs = MemoryNeeds.SWIOTLB
    for pages, number in ((64, None), (65, errno.ENOMEM)):
        export = bench.export(bench.buffer(pages * 4096))
        geometry = replace(PICTURE, height=64)
        if number is None:
            bench.card.import_framebuffer(export.fd, geometry).close()
        else:
            assert refused(bench, export.fd, geometry) == (IMPORT, number)
        export.close()


def shows_right(bench: Bench, kind: ExportKind) -> bool:
    buffer = bench.buffer()
    export = bench.export(buffer, kind)
    framebuffer = bench.card.import_framebuffer(export.fd, PICTURE)
    bench.modeset(framebuffer).commit(allow_modeset=True)
    shown = bench.shown()
    assert shown[:4] == bytes(buffer.pixels[:4]), "the first address is the buffer's"
    framebuffer.close()
    export.close()
    return shown == bytes(buffer.pixels)


def test_a_controller_that_scans_on_from_the_first_address(bench: Bench) -> None:
    assert not bench.card.scans_first_address
    bench.device.controller.needs = MemoryNeeds.FIRST_ADDRESS
    assert bench.card.scans_first_address
    assert not any(shows_right(bench, kind) for kind in ExportKind)
    bench.device.controller.iommu = True
    assert [shows_right(bench, kind) for kind in ExportKind] == [False, True, True]
    bench.device.controller.iommu = False
    bench.memory.contiguous = True
    assert shows_right(bench, PLAIN)


def test_a_commit_of_imported_memory_is_refused_but_not_its_test(bench: Bench) -> None:
    bench.device.controller.refuse_imported = errno.ENOSPC
    export = bench.export(bench.buffer())
    imported = bench.card.import_framebuffer(export.fd, PICTURE)
    request = bench.modeset(imported)
    assert request.test(allow_modeset=True)
    with pytest.raises(HostError) as caught:
        request.commit(allow_modeset=True)
    assert caught.value.errno == errno.ENOSPC
    dumb = bench.card.dumb_framebuffer(*SIZE, PICTURE.format)
    bench.modeset(dumb).commit(allow_modeset=True)
    assert flip_to(bench.card, imported) == -errno.ENOSPC
    assert flip_to(bench.card, dumb) == 0
    for framebuffer in (imported, dumb):
        framebuffer.close()
    export.close()


def test_selectors(bench: Bench) -> None:
    for selector in ("/dev/dri/card0", "driver:sim", "connector:HDMI-A-2"):
        assert bench.card.matches(selector)
    for selector in ("/dev/dri/card1", "driver:virtio_gpu", "connector:HDMI-A-3"):
        assert not bench.card.matches(selector)
