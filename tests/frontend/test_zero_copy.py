# SPDX-License-Identifier: GPL-2.0-or-later
"""Which way a guest's pictures take, that the log says why, and that they are right on every way."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import pytest
import trio

from tests.frontend.conftest import TEST_SECONDS, Machine, is_dark, run_machine
from xendisplback.config import CardSettings, Config
from xendisplback.daemon.service import Service
from xendisplback.sim.controller import Controller, MemoryNeeds
from xendisplback.sim.counts import Counts
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.dmabuf import BufferPages
from xendisplback.sim.guest import Guest
from xendisplback.sim.guest_buffer import GuestFramebuffer
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel
from xendisplback.sim.kms_state import Refused

PIXELS = 800 * 600 * 4
RING_PAGES = 2
EXPORTS = "plain export, write-combined export, coherent export"
PLAIN = "zero copy by plain export"


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "xendisplback")


class TakesNoOthers(Controller):
    """As virtio-gpu without blob resources."""

    def admit(self, buffer: BufferPages) -> Sequence[int]:
        raise Refused(errno.ENODEV, "no memory of others")


def running(
    controller: Controller | None = None,
    kernel: SimKernel | None = None,
    config: Config | None = None,
    device: DisplayDevice | None = None,
) -> AbstractAsyncContextManager[Machine]:
    """A daemon in a domain whose kernel exports; checks at the end that nothing is left."""
    if device is None:
        device = DisplayDevice(controller=controller)
    return run_machine([device], config, kernel or SimKernel(gntdev_dmabuf=True))


def screen(machine: Machine, name: str = "HDMI-A-1") -> bytes:
    shot = machine.host.device.screen(name)
    assert shot is not None, f"{name} is dark"
    return shot.pixels


def draw_noise(framebuffer: GuestFramebuffer) -> bytes:
    """Random XRGB8888 pixels; returns them as the screen shows them."""
    pixels = bytearray(os.urandom(PIXELS))
    framebuffer.buffer.pixels[:PIXELS] = pixels
    pixels[3::4] = bytes(PIXELS // 4)
    return bytes(pixels)


async def show(m: Machine, guest: Guest, name: str = "HDMI-A-1") -> GuestFramebuffer:
    """A new framebuffer, whose pixels are right on the screen."""
    framebuffer = await guest.create_framebuffer(800, 600, "XR24")
    expected = draw_noise(framebuffer)
    await guest.displays[0].enable(framebuffer)
    assert screen(m, name) == expected
    return framebuffer


def way(caplog: pytest.LogCaptureFixture) -> str:
    """How the log says that the last guest is shown, and why."""
    shown = [text for text in caplog.messages if "shown on " in text]
    return shown[-1].split(", ", 2)[2]


# The way, and what refused the better ones


async def test_the_guests_own_memory_is_scanned_out(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as m:
        guest = await m.guest()
        await show(m, guest)
        assert way(caplog) == PLAIN
        counts = m.host.counts
        assert (counts.exports, counts.imports, counts.dumb) == (1, 1, 0)


async def test_a_controller_behind_an_iommu_gets_contiguous_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(Controller(needs=MemoryNeeds.CONTIGUOUS, iommu=True)) as m:
        guest = await m.guest()
        await show(m, guest)
        assert way(caplog) == (
            "zero copy by write-combined export (plain export: drmPrimeFDToHandle EINVAL:"
            " the controller wants contiguous memory)"
        )
        assert m.host.counts.dumb == 0
        # The plain export that the card refused is given up.
        assert len(m.host.memory.dmabufs) == 1


@dataclass(frozen=True, slots=True)
class Refusal:
    """A host that refuses, and what the log says of it."""

    reason: str
    controller: Controller
    kernel: SimKernel


def refusal(
    reason: str, controller: Controller | None = None, kernel: SimKernel | None = None
) -> Refusal:
    return Refusal(reason, controller or Controller(), kernel or SimKernel(gntdev_dmabuf=True))


NEEDS = MemoryNeeds
REFUSALS = {
    "kernel without exports": refusal(
        f"{EXPORTS}: xengnttab_dmabuf_exp_from_refs ENOTTY: kernel without CONFIG_XEN_GNTDEV_DMABUF",
        kernel=SimKernel(),
    ),
    "PV domain": refusal(
        f"{EXPORTS}: xengnttab_dmabuf_exp_from_refs EINVAL: a PV domain cannot export",
        kernel=SimKernel(gntdev_dmabuf=True, pv=True),
    ),
    "contiguous memory wanted": refusal(
        f"{EXPORTS}: drmPrimeFDToHandle EINVAL: the controller wants contiguous memory",
        Controller(needs=NEEDS.CONTIGUOUS),
    ),
    "no contiguous memory left": refusal(
        "plain export: drmPrimeFDToHandle EINVAL: the controller wants contiguous memory; write-combined"
        " export, coherent export: xengnttab_dmabuf_exp_from_refs ENOMEM: no contiguous memory left (CMA)",
        Controller(needs=NEEDS.CONTIGUOUS, iommu=True),
        SimKernel(gntdev_dmabuf=True, cma_pages=100),
    ),
    "swiotlb": refusal(
        f"{EXPORTS}: drmPrimeFDToHandle ENOMEM: not DMA-mappable as one piece (swiotlb)",
        Controller(needs=NEEDS.SWIOTLB),
    ),
    "no memory of others": refusal(
        f"{EXPORTS}: drmPrimeFDToHandle ENODEV: the driver takes no memory of others",
        TakesNoOthers(),
    ),
    "no PRIME import": refusal(
        f"{EXPORTS}: drmGetCap: sim imports no dma-bufs",
        Controller(can_import=False),
    ),
    "pitch": refusal(
        f"{EXPORTS}: drmModeAddFB2 EINVAL: pitch, format or size not for this controller",
        Controller(pitch_align=256),
    ),
    "commit": refusal(
        f"{EXPORTS}: DRM_IOCTL_MODE_ATOMIC EINVAL: the controller does not show this memory",
        Controller(refuse_imported=errno.EINVAL),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_is_refused_is_copied_and_the_reason_is_told(
    caplog: pytest.LogCaptureFixture, name: str
) -> None:
    host = REFUSALS[name]
    async with running(host.controller, host.kernel) as m:
        domain = await m.domain()
        framebuffer = await show(m, domain.guest)
        assert way(caplog) == f"by copy ({host.reason})"
        expected = draw_noise(framebuffer)
        await domain.guest.displays[0].flip(framebuffer)
        assert screen(m) == expected
        assert len(m.host.memory.dmabufs) == 0, "no refused export stays"


async def test_a_format_that_the_plane_lacks_is_converted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "RG16")
        framebuffer.fill(0xFF0000)
        await guest.displays[0].enable(framebuffer)
        assert screen(m) == bytes.fromhex("0000ff00") * (800 * 600)
        assert (
            way(caplog)
            == f"by copy ({EXPORTS}: drmModeGetPlane: the plane does not take the format)"
        )
        assert m.host.counts.imports == 0


async def test_a_format_that_the_plane_has_is_not_converted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(device=DisplayDevice(formats=["XR24", "RG16"])) as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "RG16")
        framebuffer.fill(0xFF0000)
        await guest.displays[0].enable(framebuffer)
        assert screen(m) == bytes.fromhex("0000ff00") * (800 * 600)
        assert way(caplog) == PLAIN


# What was learnt of refusals


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_second_buffer_of_the_same_shape_is_not_tried_again(
    caplog: pytest.LogCaptureFixture, name: str
) -> None:
    host = REFUSALS[name]
    async with running(host.controller, host.kernel) as m:
        guest = await m.guest()
        await show(m, guest)
        before = m.host.counts
        await show(m, guest)
        tried = m.host.counts - before
        assert (tried.exports, tried.imports, tried.addfb) == (0, 0, 0)
        assert way(caplog) == f"by copy ({host.reason})"


async def test_a_second_buffer_goes_straight_to_the_export_that_works() -> None:
    async with running(Controller(needs=NEEDS.CONTIGUOUS, iommu=True)) as m:
        guest = await m.guest()
        await show(m, guest)
        before = m.host.counts
        await show(m, guest)
        tried = m.host.counts - before
        assert (tried.exports, tried.imports, tried.addfb) == (1, 1, 1)


async def test_a_buffer_of_another_shape_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    device = DisplayDevice(modes=["800x600", "320x200"], controller=Controller(needs=NEEDS.SWIOTLB))
    async with running(device=device) as m:
        guest = await m.guest()
        await show(m, guest)
        assert way(caplog).startswith("by copy")
        small = await guest.create_framebuffer(320, 200, "XR24")
        small.fill(0x00FF00)
        await guest.displays[0].enable(small)
        assert screen(m) == bytes.fromhex("00ff0000") * (320 * 200)
        assert way(caplog) == PLAIN, "63 pages: swiotlb has room for them"


async def test_one_guests_refusals_are_not_anothers(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Controller(needs=NEEDS.CONTIGUOUS)) as m:
        await show(m, await m.guest())
        assert way(caplog).startswith("by copy")
        other = await m.domain(("HDMI-A-2", "800x600"), name="other")
        other.memory.contiguous = True
        await show(m, other.guest, "HDMI-A-2")
        assert way(caplog) == PLAIN


async def test_a_guest_that_connects_again_is_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    controller = Controller(refuse_imported=errno.EINVAL)
    async with running(controller) as m:
        guest = await m.guest()
        await show(m, guest)
        assert way(caplog).startswith("by copy")
        await guest.unload()
        controller.refuse_imported = 0
        await guest.load()
        await guest.connected()
        await show(m, guest)
        assert way(caplog) == PLAIN


# The configuration


async def test_never_means_that_nothing_is_tried(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(card={"driver:sim": CardSettings(zero_copy="never")})
    async with running(config=config) as m:
        await show(m, await m.guest())
        assert way(caplog) == f'by copy ({EXPORTS}: zero-copy = "never")'
        counts = m.host.counts
        assert (counts.exports, counts.imports) == (0, 0)


async def test_another_cards_settings_do_not_count(caplog: pytest.LogCaptureFixture) -> None:
    config = Config(card={"driver:other": CardSettings(zero_copy="never")})
    async with running(config=config) as m:
        await show(m, await m.guest())
        assert way(caplog) == PLAIN


REQUIRE = Config(card={"driver:sim": CardSettings(zero_copy="require")})


async def test_require_shows_what_needs_no_copy(caplog: pytest.LogCaptureFixture) -> None:
    async with running(config=REQUIRE) as m:
        await show(m, await m.guest())
        assert way(caplog) == PLAIN


async def test_require_refuses_a_buffer_that_can_not_be_exported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(kernel=SimKernel(), config=REQUIRE) as m:
        domain = await m.domain()
        for _ in range(2):
            with pytest.raises(GuestError) as caught:
                await domain.guest.create_framebuffer(800, 600, "XR24")
            assert caught.value.errno == errno.EIO, "displif knows no ENOTTY"
            assert m.host.memory.mapped(domain.domid) == RING_PAGES
        assert 'copy: zero-copy = "require"' in caplog.text
        assert "kernel without CONFIG_XEN_GNTDEV_DMABUF" in caplog.text
        assert not domain.memory.deferred
        await domain.guest.displays[0].disable()


async def test_require_refuses_to_show_what_the_card_does_not_take() -> None:
    async with running(Controller(needs=NEEDS.SWIOTLB), config=REQUIRE) as m:
        domain = await m.domain()
        display = domain.guest.displays[0]
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        with pytest.raises(GuestError) as caught:
            await display.enable(framebuffer)
        assert caught.value.errno == errno.ENOMEM
        assert is_dark(m.host)
        await display.disable()
        await domain.guest.destroy_framebuffer(framebuffer)
        assert m.host.memory.mapped(domain.domid) == RING_PAGES
        domain.memory.contiguous = True
        # Of another size: what failed is remembered.
        tall = await domain.guest.create_framebuffer(800, 700, "XR24")
        await display.mode_set(0, 0, 800, 600, 32, tall.cookie)
        expected = draw_noise(tall)
        assert screen(m) == expected


async def test_require_refuses_a_flip_to_what_the_card_does_not_take_any_more() -> None:
    controller = Controller()
    async with running(controller, config=REQUIRE) as m:
        other = await m.guest(("HDMI-A-2", "800x600"), name="other")
        domain = await m.domain()
        await show(m, domain.guest)
        second = await domain.guest.create_framebuffer(800, 600, "XR24")
        controller.refuse_imported = errno.EINVAL
        with pytest.raises(GuestError) as caught:
            await domain.guest.displays[0].flip(second)
        assert caught.value.errno == errno.EINVAL
        controller.refuse_imported = 0
        await show(m, other, "HDMI-A-2")
        await domain.guest.displays[0].disable()
        await domain.guest.unload()
        await m.released(domain.domid)
        await domain.guest.load()
        await domain.guest.connected()
        await show(m, domain.guest)


RCAR = Controller(needs=NEEDS.FIRST_ADDRESS)
RCAR_WITH_IOMMU = Controller(needs=NEEDS.FIRST_ADDRESS, iommu=True)
IOMMU = Config(card={"driver:sim": CardSettings(iommu=True)})


def direct_mapped(*, cma_pages: int = 16384) -> SimKernel:
    return SimKernel(gntdev_dmabuf=True, direct_mapped=True, cma_pages=cma_pages)


async def test_a_controller_that_would_show_wrong_memory_is_not_tried(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(RCAR, direct_mapped()) as m:
        await show(m, await m.guest())
        assert way(caplog).startswith(f"by copy ({EXPORTS}: sim would show wrong memory")
        assert "iommu = true" in way(caplog)
        assert m.host.counts.exports == 0


async def test_require_does_not_overrule_wrong_memory() -> None:
    async with running(RCAR, direct_mapped(), REQUIRE) as m:
        guest = await m.guest()
        with pytest.raises(GuestError) as caught:
            await guest.create_framebuffer(800, 600, "XR24")
        assert caught.value.errno == errno.EOPNOTSUPP
        assert m.host.counts.exports == 0


async def test_the_operators_word_for_an_iommu_admits_contiguous_exports(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(RCAR_WITH_IOMMU, direct_mapped(), IOMMU) as m:
        await show(m, await m.guest())
        assert way(caplog) == (
            "zero copy by write-combined export (plain export: sim scans on from the first address:"
            " only contiguous exports)"
        )
        assert m.host.counts.exports == 1


async def test_without_contiguous_memory_such_a_controller_gets_a_copy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(RCAR_WITH_IOMMU, direct_mapped(cma_pages=100), IOMMU) as m:
        await show(m, await m.guest())
        assert way(caplog).startswith("by copy (plain export: sim scans on")
        assert "no contiguous memory left (CMA)" in way(caplog)
        assert m.host.counts.imports == 0


# Flips


async def test_buffers_of_both_ways_are_flipped_in_turn(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Controller(needs=NEEDS.CONTIGUOUS)) as m:
        domain = await m.domain()
        domain.memory.contiguous = True
        direct = await show(m, domain.guest)
        assert way(caplog) == PLAIN
        domain.memory.contiguous = False
        copied = await domain.guest.create_framebuffer(800, 600, "XR24")
        display = domain.guest.displays[0]
        for number in range(20):
            framebuffer = (copied, direct)[number % 2]
            expected = draw_noise(framebuffer)
            await display.flip(framebuffer)
            assert screen(m) == expected
        assert "by copy" in way(caplog)
        assert (display.skipped_events, display.frame_done_timeouts) == (0, 0)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSPC, errno.ENOMEM])
async def test_the_guest_does_not_notice_that_commits_begin_to_fail(
    caplog: pytest.LogCaptureFixture, number: int
) -> None:
    controller = Controller()
    async with running(controller) as m:
        guest = await m.guest()
        display = guest.displays[0]
        framebuffer = await show(m, guest)
        assert way(caplog) == PLAIN
        for flip in range(10):
            if flip == 5:
                controller.refuse_imported = number
            expected = draw_noise(framebuffer)
            await display.flip(framebuffer)
            assert screen(m) == expected
        assert (display.skipped_events, display.frame_done_timeouts) == (0, 0)
        reason = f"DRM_IOCTL_MODE_ATOMIC {errno.errorcode[number]}"
        assert f", by copy ({EXPORTS}: {reason}" in caplog.text


async def test_a_flip_that_meets_a_busy_controller_is_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    controller = Controller()
    async with running(controller) as m:
        guest = await m.guest()
        frames = [await show(m, guest) for _ in range(2)]
        controller.refuse_imported = errno.EBUSY
        expected = draw_noise(frames[0])
        await guest.displays[0].flip(frames[0])
        assert screen(m) == expected
        controller.refuse_imported = 0
        await show(m, guest)
        assert way(caplog) == PLAIN, "nothing was learnt of it"


async def test_a_flip_is_one_commit_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as m:
        domain = await m.domain()
        frames = [await show(m, domain.guest) for _ in range(2)]
        before = m.host.counts
        for number in range(50):
            await domain.guest.displays[0].flip(frames[number % 2])
        assert m.host.counts - before == Counts(commits=50)
        await domain.guest.unload()
        await m.released(domain.domid)
        assert "after 50 flips; 0 pictures were copied" in caplog.text


async def test_a_flip_by_copy_makes_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    async with running(kernel=SimKernel(), config=Config(refresh_rate=0)) as m:
        domain = await m.domain()
        frames = [await show(m, domain.guest) for _ in range(2)]
        before = m.host.counts
        for number in range(50):
            await domain.guest.displays[0].flip(frames[number % 2])
        assert m.host.counts - before == Counts(commits=50)
        await domain.guest.unload()
        await m.released(domain.domid)
        assert "after 50 flips; 50 pictures were copied" in caplog.text


async def test_drawing_without_a_flip_is_on_screen_at_once_and_costs_no_commit() -> None:
    async with running() as m:
        guest = await m.guest()
        framebuffer = await show(m, guest)
        before = m.host.counts
        for _ in range(5):
            expected = draw_noise(framebuffer)
            assert screen(m) == expected
            await trio.sleep(0.1)
        assert m.host.counts == before


async def test_a_plane_with_a_shadow_buffer_is_refreshed_without_a_copy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its driver reads the memory at each commit only."""
    device = DisplayDevice()
    planes = device.objects.planes
    planes.update({id: replace(plane, shadowed=True) for id, plane in planes.items()})
    async with running(device=device) as m:
        domain = await m.domain()
        framebuffer = await show(m, domain.guest)
        before = m.host.counts
        expected = draw_noise(framebuffer)
        with trio.fail_after(2):
            while m.host.counts.commits < before.commits + 3:
                await trio.sleep(0.02)
        assert screen(m) == expected
        assert replace(m.host.counts - before, commits=0) == Counts()
        await domain.guest.unload()
        await m.released(domain.domid)
        assert "0 pictures were copied" in caplog.text


async def test_one_buffer_on_two_outputs(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as m:
        guest = await m.guest(("HDMI-A-1", "800x600"), ("HDMI-A-2", "800x600"))
        framebuffer = await show(m, guest)
        await guest.displays[1].enable(framebuffer)
        expected = draw_noise(framebuffer)
        assert screen(m, "HDMI-A-1") == screen(m, "HDMI-A-2") == expected
        assert way(caplog) == PLAIN
        assert m.host.counts.exports == 1


@pytest.mark.parametrize("align", [1, 64])
async def test_an_odd_width_is_shown_with_the_pitch_the_guest_uses(
    caplog: pytest.LogCaptureFixture, align: int
) -> None:
    async with running(device=DisplayDevice(modes=["1366x768"])) as m:
        guest = await m.guest(("HDMI-A-1", "1366x768"))
        framebuffer = await guest.create_framebuffer(1366, 768, "XR24", pitch_align=align)
        framebuffer.fill(0x123456)
        await guest.displays[0].enable(framebuffer)
        assert screen(m) == bytes.fromhex("56341200") * (1366 * 768)
        assert way(caplog) == PLAIN


async def test_an_imported_buffer_is_shown_from_its_offset(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24", imported=True, data_ofs=256)
        framebuffer.fill(0x00FF7F)
        await guest.displays[0].enable(framebuffer)
        assert screen(m) == bytes.fromhex("7fff0000") * (800 * 600)
        assert way(caplog) == PLAIN


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSPC, errno.ENOMEM])
async def test_the_guest_does_not_notice_that_commits_begin_to_fail_for_two_buffers(
    caplog: pytest.LogCaptureFixture, number: int
) -> None:
    controller = Controller()
    async with running(controller) as m:
        guest = await m.guest()
        display = guest.displays[0]
        frames = [await show(m, guest) for _ in range(2)]
        for flip in range(10):
            if flip == 5:
                controller.refuse_imported = number
            expected = draw_noise(frames[flip % 2])
            await display.flip(frames[flip % 2])
            assert screen(m) == expected
        assert (display.skipped_events, display.frame_done_timeouts) == (0, 0)
        assert f", by copy ({EXPORTS}: DRM_IOCTL_MODE_ATOMIC" in caplog.text


async def test_a_way_given_up_leaves_no_export() -> None:
    controller = Controller()
    async with running(controller) as m:
        guest = await m.guest()
        framebuffer = await show(m, guest)
        controller.refuse_imported = errno.EINVAL
        await guest.displays[0].flip(framebuffer)
        assert len(m.host.memory.dmabufs) == 0


async def test_require_a_refused_set_config_leaves_nothing_mapped() -> None:
    async with running(Controller(needs=NEEDS.SWIOTLB), config=REQUIRE) as m:
        domain = await m.domain()
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        with pytest.raises(GuestError):
            await domain.guest.displays[0].enable(framebuffer)
        assert m.host.memory.mapped(domain.domid) == RING_PAGES


async def test_one_buffer_on_two_cards_of_which_one_refuses_it() -> None:
    takes = DisplayDevice(connectors=["HDMI-A-1"])
    refuses = DisplayDevice(
        connectors=["DP-1"],
        path="/dev/dri/card1",
        controller=Controller(needs=NEEDS.SWIOTLB),
    )
    with trio.fail_after(TEST_SECONDS):
        async with (
            SimHost([takes, refuses], SimKernel(gntdev_dmabuf=True)) as host,
            trio.open_nursery() as nursery,
        ):
            service = Service(Config(), host)
            await nursery.start(service.run)
            guest = await Machine(host, service).guest(("HDMI-A-1", "800x600"), ("DP-1", "800x600"))
            framebuffer = await guest.create_framebuffer(800, 600, "XR24")
            expected = draw_noise(framebuffer)
            await guest.displays[0].enable(framebuffer)
            await guest.displays[1].enable(framebuffer)
            for device, name in ((takes, "HDMI-A-1"), (refuses, "DP-1")):
                shot = device.screen(name)
                assert shot is not None
                assert shot.pixels == expected
            service.stop()


@pytest.mark.parametrize("config", [Config(), IOMMU])
async def test_first_address_in_a_domain_that_is_not_direct_mapped(config: Config) -> None:
    async with running(RCAR_WITH_IOMMU, config=config) as m:
        await show(m, await m.guest())
