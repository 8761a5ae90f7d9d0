# SPDX-License-Identifier: GPL-2.0-or-later
"""Zero copy leaves nothing behind: neither after a buffer, a guest or the daemon, nor after bad requests."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio

from tests.frontend.conftest import Machine, Machines, guests_framebuffers, is_dark
from xendisplback.protocol.displif import DbufCreate, DbufDestroy, FbAttach
from xendisplback.protocol.formats import fourcc
from xendisplback.sim.controller import Controller, MemoryNeeds
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import Guest
from xendisplback.sim.guest_buffer import GuestBuffer, GuestFramebuffer
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.memory import GuestMemory

PAGES = 469
"""Of a buffer of 800x600 pixels."""
RING_PAGES = 2


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "xendisplback")


def dark(m: Machine, name: str = "HDMI-A-1") -> bool:
    return is_dark(m.host, name)


async def exporting(m: Machine, *connectors: str) -> Domain:
    """A guest whose buffers are shown by zero copy."""
    m.host.kernel.gntdev_dmabuf = True
    return await m.domain(*((name, "800x600") for name in connectors or ["HDMI-A-1"]))


async def show(m: Machine, guest: Guest, colour: int = 0x00FF00) -> GuestFramebuffer:
    framebuffer = await guest.create_framebuffer(800, 600, "XR24")
    framebuffer.fill(colour)
    await guest.displays[0].enable(framebuffer)
    assert shown(m) == colour
    return framebuffer


def shown(m: Machine) -> int:
    """The colour of the whole screen."""
    shot = m.host.device.screen("HDMI-A-1")
    assert shot is not None
    colour = shot.colour(0, 0)
    assert shot.pixels == colour.to_bytes(4, "little") * (shot.width * shot.height)
    return colour


def nothing_is_left(m: Machine, domain: Domain, pages: int = RING_PAGES) -> None:
    """Of the domain's buffers; ``pages``: what is mapped for other reasons."""
    assert m.host.memory.mapped(domain.domid) == pages
    assert len(m.host.memory.dmabufs) == 0
    assert guests_framebuffers(m.host) == 0
    assert not domain.memory.deferred, "the guest ended grants that were still mapped"


# The end of a buffer


async def test_destroying_the_buffer_on_screen_darkens_and_releases_it_before_the_answer(
    machine: Machines, caplog: pytest.LogCaptureFixture
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        framebuffer = await show(m, domain.guest)
        assert len(m.host.memory.dmabufs) == 1
        await domain.guest.dbuf_destroy(framebuffer.buffer)
        assert dark(m)
        nothing_is_left(m, domain)
        assert "zero copy by plain export" in caplog.text
        await show(m, domain.guest)


async def test_destroying_one_of_two_buffers_leaves_the_other_on_screen(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m)
        goes = await show(m, domain.guest, 0xFF0000)
        stays = await show(m, domain.guest, 0x0000FF)
        await domain.guest.destroy_framebuffer(goes)
        assert shown(m) == 0x0000FF
        assert len(m.host.memory.dmabufs) == m.host.device.framebuffers == 1
        assert m.host.memory.mapped(domain.domid) == PAGES + RING_PAGES
        await domain.guest.displays[0].flip(stays)
        assert not domain.memory.deferred


async def test_destroying_a_buffer_in_the_middle_of_its_flip(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m)
        guest = domain.guest
        for _ in range(5):
            frames = [await show(m, guest, colour) for colour in (0xFF0000, 0x0000FF)]
            await guest.page_flip(0, frames[0].cookie)
            await guest.dbuf_destroy(frames[0].buffer)
            assert dark(m)
            await guest.displays[0].frame_done()
            await guest.destroy_framebuffer(frames[1])
            nothing_is_left(m, domain)


async def test_destroying_the_buffer_that_a_flip_replaces(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m)
        guest = domain.guest
        frames = [await show(m, guest, colour) for colour in (0xFF0000, 0x0000FF)]
        await guest.page_flip(0, frames[0].cookie)
        await guest.destroy_framebuffer(frames[1])
        assert shown(m) == 0xFF0000
        assert len(m.host.memory.dmabufs) == 1
        assert not domain.memory.deferred


async def test_a_framebuffer_is_detached_before_its_buffer_is_released(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m)
        framebuffer = await show(m, domain.guest)
        await domain.guest.fb_detach(framebuffer)
        assert dark(m)
        assert guests_framebuffers(m.host) == 0
        assert m.host.memory.mapped(domain.domid) == PAGES + RING_PAGES, "the buffer is still there"
        await domain.guest.dbuf_destroy(framebuffer.buffer)
        nothing_is_left(m, domain)


async def test_two_framebuffers_of_one_buffer_share_its_export(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m)
        guest = domain.guest
        first = await show(m, guest)
        second = await guest.fb_attach(first.buffer, 800, 600, "XR24")
        await guest.displays[0].flip(second)
        assert (m.host.counts.exports, m.host.device.framebuffers) == (1, 2)
        await guest.fb_detach(first)
        assert shown(m) == 0x00FF00
        await guest.fb_detach(second)
        assert dark(m)
        await guest.dbuf_destroy(first.buffer)
        nothing_is_left(m, domain)


async def test_a_buffer_on_two_outputs_goes_off_both(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m, "HDMI-A-1", "HDMI-A-2")
        framebuffer = await show(m, domain.guest)
        await domain.guest.displays[1].enable(framebuffer)
        assert not dark(m, "HDMI-A-2")
        await domain.guest.destroy_framebuffer(framebuffer)
        assert dark(m)
        assert dark(m, "HDMI-A-2")
        nothing_is_left(m, domain, 2 * RING_PAGES)


# The end of a guest


async def test_a_guest_that_dies_with_its_buffer_on_screen_leaves_no_zombie(
    machine: Machines,
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        await show(m, domain.guest)
        domain.die()
        assert m.host.memory.zombies == {domain.domid}
        await m.released(domain.domid)
        assert dark(m)
        nothing_is_left(m, domain, 0)
        assert not m.host.memory.zombies


async def test_a_guest_that_dies_in_the_middle_of_a_flip_leaves_no_zombie(
    machine: Machines,
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        frames = [await show(m, domain.guest) for _ in range(2)]
        await domain.guest.page_flip(0, frames[0].cookie)
        domain.die()
        await m.released(domain.domid)
        assert dark(m)
        nothing_is_left(m, domain, 0)
        assert not m.host.memory.zombies


async def test_destroying_a_domain_and_unloading_the_driver_release_everything(
    machine: Machines,
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        await show(m, domain.guest)
        await domain.guest.unload()
        await m.released(domain.domid)
        assert dark(m)
        nothing_is_left(m, domain, 0)
        await domain.guest.load()
        await domain.guest.connected()
        await show(m, domain.guest)
        await m.host.toolstack.destroy(domain)
        assert dark(m)
        nothing_is_left(m, domain, 0)


async def test_a_stopped_daemon_leaves_nothing(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m)
        await show(m, domain.guest)
        m.service.stop()
        await m.released(domain.domid)
        with trio.fail_after(2):
            while not dark(m):
                await trio.sleep(0.01)
        nothing_is_left(m, domain, 0)


async def test_a_card_that_vanishes_takes_no_export_along(machine: Machines) -> None:
    async with machine() as m:
        domain = await exporting(m)
        framebuffer = await show(m, domain.guest)
        m.host.device.unplug()
        for _ in range(3):
            await domain.guest.displays[0].flip(framebuffer)
        assert domain.guest.displays[0].frame_done_timeouts == 0
        await domain.guest.destroy_framebuffer(framebuffer)
        nothing_is_left(m, domain)


# Many rounds

OUTPUTS = ("DP-1", "DP-2", "DP-3", "DP-4")
ROUNDS = 250
SMALL_PAGES = 63
"""Of a buffer of 320x200 pixels."""


async def replace_buffers(guest: Guest, rounds: int) -> None:
    """Each is created, attached, flipped to, flipped to again, and destroyed when the next one is on screen."""
    display = guest.displays[0]
    shows = await guest.create_framebuffer(320, 200, "XR24")
    await display.enable(shows)
    for _ in range(rounds):
        following = await guest.create_framebuffer(320, 200, "XR24")
        await display.flip(following)
        await display.flip(following)
        await guest.destroy_framebuffer(shows)
        shows = following
    await guest.destroy_framebuffer(shows)
    assert (display.skipped_events, display.frame_done_timeouts) == (0, 0)


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("needs", [MemoryNeeds.ANY, MemoryNeeds.CONTIGUOUS])
async def test_a_thousand_buffers_leave_everything_where_it_was(
    machine: Machines, caplog: pytest.LogCaptureFixture, needs: MemoryNeeds
) -> None:
    """On four outputs at once: a flip takes a vblank. Contiguous: two buffers for each are all that CMA holds."""
    controller = Controller(needs=needs, iommu=True)
    device = DisplayDevice(OUTPUTS, ["320x200"], controller=controller)
    async with machine([device]) as m:
        m.host.kernel.gntdev_dmabuf = True
        m.host.kernel.cma_pages = len(OUTPUTS) * 2 * SMALL_PAGES
        domains = [await m.domain((name, "320x200"), name=name) for name in OUTPUTS]
        for domain in domains:
            await replace_buffers(domain.guest, 2)
        before, fds = m.host.counts, open_fds()
        async with trio.open_nursery() as nursery:
            for domain in domains:
                nursery.start_soon(replace_buffers, domain.guest, ROUNDS)
        made = m.host.counts - before
        assert made.exports == made.imports == len(OUTPUTS) * (ROUNDS + 1)
        assert open_fds() == fds
        for domain in domains:
            nothing_is_left(m, domain)
        assert "by copy" not in caplog.text


# Bad requests: the same answers as without zero copy


@dataclass(frozen=True, slots=True)
class Bad:
    """A DBUF_CREATE of 800x600 pixels, but for ``changes``, after ``forge``."""

    status: int
    changes: dict[str, int] = field(default_factory=dict[str, int])
    forge: Callable[[GuestMemory, GuestBuffer], None] = lambda memory, buffer: None
    size: int = 800 * 600 * 4


IMPORTED = {"width": 0, "height": 0, "bpp": 0}
TWO_PAGES_OF_DIRECTORY = 2000 * 4096


def repeat_a_reference(memory: GuestMemory, buffer: GuestBuffer) -> None:
    buffer.set_directory_entry(0, 2, buffer.refs[0])


def name_an_unknown_reference(memory: GuestMemory, buffer: GuestBuffer) -> None:
    buffer.set_directory_entry(0, 2, 0x7FFFFFF)


def end_the_directory_early(memory: GuestMemory, buffer: GuestBuffer) -> None:
    buffer.set_directory_entry(0, 0, 0)


def name_a_revoked_reference(memory: GuestMemory, buffer: GuestBuffer) -> None:
    memory.end_access(buffer.refs.pop())


BAD = {
    "nothing": Bad(0),
    "offset beyond the first page": Bad(errno.EINVAL, IMPORTED | {"data_ofs": 5000}),
    "offset beyond the buffer": Bad(errno.EINVAL, IMPORTED | {"data_ofs": 0xFFFFFFFF}),
    "size too small": Bad(errno.EINVAL, {"buffer_sz": 800 * 600 * 4 - 4096}),
    "size too large": Bad(errno.EINVAL, {"buffer_sz": 800 * 600 * 8}),
    "short directory": Bad(errno.EINVAL, IMPORTED, end_the_directory_early, TWO_PAGES_OF_DIRECTORY),
    "directory of fewer pages than the size": Bad(
        errno.EINVAL, IMPORTED | {"buffer_sz": 800 * 600 * 4 + 4096}
    ),
    "reference twice": Bad(errno.EINVAL, {}, repeat_a_reference),
    "unknown reference": Bad(errno.EINVAL, {}, name_an_unknown_reference),
    "revoked reference": Bad(errno.EINVAL, {}, name_a_revoked_reference),
}


def create(cookie: int, buffer: GuestBuffer, changes: dict[str, int]) -> DbufCreate:
    fields = {
        "dbuf_cookie": cookie,
        "width": 800,
        "height": 600,
        "bpp": 32,
        "buffer_sz": buffer.size,
        "flags": 0,
        "gref_directory": buffer.directory_ref,
    }
    return DbufCreate(0, **(fields | changes))


@pytest.mark.parametrize("exports", [False, True], ids=["copy", "zero copy"])
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_buffer_is_refused_and_leaves_nothing(
    machine: Machines, name: str, *, exports: bool
) -> None:
    bad = BAD[name]
    async with machine() as m:
        domain = await exporting(m)
        m.host.kernel.gntdev_dmabuf = exports
        guest = domain.guest
        await show(m, guest)
        held = m.host.memory.mapped(domain.domid), len(m.host.memory.dmabufs)
        buffer = guest.allocate(bad.size)
        bad.forge(domain.memory, buffer)
        response = await guest.request(0, create(0x1000, buffer, bad.changes))
        assert response.status == -bad.status
        if bad.status == 0:
            assert (await guest.request(0, DbufDestroy(0, 0x1000))).status == 0
        assert (m.host.memory.mapped(domain.domid), len(m.host.memory.dmabufs)) == held
        await show(m, guest, 0x0000FF)


@pytest.mark.parametrize("exports", [False, True], ids=["copy", "zero copy"])
async def test_a_picture_that_an_offset_moves_out_of_its_buffer_is_refused(
    machine: Machines, *, exports: bool
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        m.host.kernel.gntdev_dmabuf = exports
        guest = domain.guest
        buffer = guest.allocate(800 * 600 * 4)
        # displif.h leaves open whether buffer_sz counts data_ofs.
        assert (await guest.request(0, create(0x1000, buffer, {"data_ofs": 64}))).status == 0
        attach = FbAttach(0, 0x1000, 0x2000, 800, 600, fourcc("XR24"))
        assert (await guest.request(0, attach)).status == -errno.EINVAL
        assert (await guest.request(0, DbufDestroy(0, 0x1000))).status == 0
        nothing_is_left(m, domain)


@pytest.mark.parametrize("exports", [False, True], ids=["copy", "zero copy"])
async def test_a_cookie_that_is_in_use_is_not_exported_again(
    machine: Machines, *, exports: bool
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        m.host.kernel.gntdev_dmabuf = exports
        framebuffer = await show(m, domain.guest)
        before = m.host.counts
        again = create(framebuffer.buffer.cookie, framebuffer.buffer, {})
        assert (await domain.guest.request(0, again)).status == -errno.EEXIST
        assert m.host.counts == before
        assert shown(m) == 0x00FF00
        await domain.guest.destroy_framebuffer(framebuffer)
        nothing_is_left(m, domain)


async def test_the_same_pages_in_two_buffers_are_exported_twice_and_released_twice(
    machine: Machines,
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        guest = domain.guest
        framebuffer = await show(m, guest)
        again = create(0x1000, framebuffer.buffer, {})
        assert (await guest.request(0, again)).status == 0
        assert len(m.host.memory.dmabufs) == 2
        assert (await guest.request(0, DbufDestroy(0, 0x1000))).status == 0
        assert shown(m) == 0x00FF00
        await guest.destroy_framebuffer(framebuffer)
        nothing_is_left(m, domain)


@pytest.mark.parametrize("exports", [False, True], ids=["copy", "zero copy"])
async def test_a_reference_revoked_after_the_buffer_was_created_hurts_nobody(
    machine: Machines, *, exports: bool
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        m.host.kernel.gntdev_dmabuf = exports
        guest = domain.guest
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        domain.memory.end_access(framebuffer.buffer.refs.pop())
        framebuffer.fill(0x00FF00)
        await guest.displays[0].enable(framebuffer)
        assert shown(m) == 0x00FF00
        await guest.destroy_framebuffer(framebuffer)
        assert m.host.memory.mapped(domain.domid) == RING_PAGES
        assert len(domain.memory.deferred) == 1, "the guest's own doing"
        await show(m, guest)


async def test_a_reference_revoked_before_the_next_way_is_tried_is_the_guests_error(
    machine: Machines,
) -> None:
    """The export that the card refuses was all that held the page."""
    controller = Controller(needs=MemoryNeeds.CONTIGUOUS)
    async with machine([DisplayDevice(controller=controller)]) as m:
        domain = await exporting(m)
        guest = domain.guest
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        domain.memory.end_access(framebuffer.buffer.refs.pop())
        with pytest.raises(GuestError) as caught:
            await guest.displays[0].enable(framebuffer)
        assert caught.value.errno == errno.EINVAL
        assert dark(m)
        assert m.host.memory.mapped(domain.domid) == RING_PAGES
        await guest.displays[0].disable()
        await guest.destroy_framebuffer(framebuffer)
        await show(m, guest)


@pytest.mark.parametrize("exports", [False, True], ids=["copy", "zero copy"])
async def test_a_paged_out_guest_is_told_so_and_what_comes_too_late_is_given_up(
    machine: Machines, *, exports: bool
) -> None:
    async with machine() as m:
        domain = await exporting(m)
        m.host.kernel.gntdev_dmabuf = exports
        guest = domain.guest
        buffer = guest.allocate(800 * 600 * 4)
        domain.memory.page_out()
        assert (await guest.request(0, create(0x1000, buffer, {}))).status == -errno.ETIMEDOUT
        domain.memory.page_in()
        await trio.sleep(0.3)
        assert m.host.memory.mapped(domain.domid) == RING_PAGES
        assert len(m.host.memory.dmabufs) == 0
        await show(m, guest)
