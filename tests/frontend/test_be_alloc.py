# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests with be-alloc=1: which memory they get, within which budget, and that it outlives their use of it."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

from tests.frontend.conftest import TEST_SECONDS, Machine, is_dark, run_machine
from xendisplback.config import BackendAllocation, Config
from xendisplback.daemon.service import Service
from xendisplback.errors import HostError
from xendisplback.frontend import allocation
from xendisplback.protocol.displif import REQ_ALLOC, DbufCreate
from xendisplback.protocol.xenbus import XenbusState as S
from xendisplback.sim.backend_memory import SimGrantedPages, SimSharedPages
from xendisplback.sim.controller import Controller, MemoryNeeds
from xendisplback.sim.counts import Counts
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import Guest
from xendisplback.sim.guest_buffer import GuestBuffer, GuestFramebuffer
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel
from xendisplback.sim.machine import SimGrantTable

SIZE = 800 * 600 * 4
PAGES = 469
"""Of a buffer of 800x600 pixels: a budget of 2 MiB is for one, 4 MiB for two."""
RING_PAGES = 2
CARD = "zero copy by card's memory"


def allowing(*, per_domain: int = 16, total: int = 128, refresh_rate: float = 0) -> Config:
    """Without refreshes: what a flip costs is counted."""
    return Config(refresh_rate=refresh_rate, be_alloc=BackendAllocation(per_domain, total))


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "xendisplback")


@pytest.fixture(autouse=True)
def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocation, "SETTLE_SECONDS", 0.2)


def fitting(*connectors: str, pitch_align: int = 64) -> DisplayDevice:
    """With 64 its dumb buffers have the pitch of 800x600."""
    return DisplayDevice(
        connectors or ("HDMI-A-1", "HDMI-A-2"),
        controller=Controller(needs=MemoryNeeds.CONTIGUOUS, dumb_pitch_align=pitch_align),
    )


def running(
    config: Config | None = None,
    *,
    pitch_align: int = 64,
    kernel: SimKernel | None = None,
) -> AbstractAsyncContextManager[Machine]:
    """A daemon that may allocate, on a card without an IOMMU that wants contiguous memory."""
    return run_machine(
        [fitting(pitch_align=pitch_align)],
        config or allowing(),
        kernel or SimKernel(gntdev_dmabuf=True),
    )


def screen(host: SimHost, name: str = "HDMI-A-1") -> bytes | None:
    shot = host.device.screen(name)
    return None if shot is None else shot.pixels


def draw_noise(framebuffer: GuestFramebuffer) -> bytes:
    """Random XRGB8888 pixels; returns them as the screen shows them."""
    pixels = bytearray(os.urandom(SIZE))
    framebuffer.buffer.pixels[:SIZE] = pixels
    pixels[3::4] = bytes(SIZE // 4)
    return bytes(pixels)


async def create(guest: Guest) -> GuestFramebuffer:
    return await guest.create_framebuffer(800, 600, "XR24")


async def show(host: SimHost, guest: Guest, name: str = "HDMI-A-1") -> GuestFramebuffer:
    """A new framebuffer, whose pixels are right on the screen."""
    framebuffer = await create(guest)
    expected = draw_noise(framebuffer)
    await guest.displays[0].enable(framebuffer)
    assert screen(host, name) == expected
    return framebuffer


async def refused(guest: Guest) -> int:
    """The errno that the guest gets for a buffer."""
    with pytest.raises(GuestError) as caught:
        await create(guest)
    return caught.value.errno


def way(caplog: pytest.LogCaptureFixture) -> str:
    """How the log says that the last guest is shown, and why."""
    shown = [text for text in caplog.messages if "shown on " in text]
    return shown[-1].split(", ", 2)[2]


def granted(m: Machine, domain: Domain | None = None) -> int:
    return m.host.memory.backend.granted(None if domain is None else domain.domid)


async def freed(host: SimHost, domain: Domain) -> None:
    """Until nothing is granted to the domain, nor held for it."""
    with trio.fail_after(5):
        while host.memory.backend.granted(domain.domid) or held(host, domain):
            await trio.sleep(0.01)


async def all_freed(host: SimHost, domain: Domain) -> None:
    """:func:`freed`, and no memory of the card stays exported."""
    await freed(host, domain)
    assert len(host.memory.dmabufs) == 0


def held(host: SimHost, domain: Domain) -> int:
    """How many descriptors systemd holds for the domain."""
    return len(host.fds.held.get(f"be-alloc-{domain.domid}", ()))


def intact(host: SimHost) -> bool:
    """Whether no memory was freed that a guest had mapped."""
    host.memory.backend.granted()  # notices what was closed
    return host.memory.backend.freed_in_use == 0


# Which memory


async def test_it_is_refused_unless_it_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    async with running(Config()) as m:
        domain = await m.domain(be_alloc=True)
        assert await refused(domain.guest) == errno.EACCES
        assert "set per-domain in [be-alloc] of xendisplback.toml" in caplog.text
        assert m.host.counts == Counts(maps=RING_PAGES), "nothing was tried"
        # The guest goes on.
        assert await refused(domain.guest) == errno.EACCES
        await domain.guest.displays[0].disable()
        assert domain.guest.backend_state is S.Connected


async def test_it_is_the_cards_own_memory(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        await show(m.host, domain.guest)
        assert way(caplog) == CARD
        counts = m.host.counts
        assert (counts.grants, counts.shares, counts.exports, counts.dumb) == (1, 0, 0, 1)
        assert granted(m) == granted(m, domain) == PAGES
        assert held(m.host, domain) == 1


async def test_a_flip_is_a_commit_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        frames = [await show(m.host, domain.guest) for _ in range(2)]
        before = m.host.counts
        for number in range(20):
            expected = draw_noise(frames[number % 2])
            await domain.guest.displays[0].flip(frames[number % 2])
            assert screen(m.host) == expected
        assert m.host.counts - before == Counts(commits=20)
        await domain.guest.unload()
        await m.released(domain.domid)
        assert "after 20 flips; 0 pictures were copied" in caplog.text


REFUSALS: dict[str, tuple[str, Callable[[], AbstractAsyncContextManager[Machine]]]] = {
    "pitch": (
        "sim allocates 1998848 bytes in rows of 3328, the guest draws 1921024 in rows of 3200",
        lambda: running(pitch_align=256),
    ),
    "kernel": (
        "xengnttab_dmabuf_imp_to_refs ENOTTY: 469 pages can't be granted to domain 1",
        lambda: running(kernel=SimKernel()),
    ),
}


async def by_copy(m: Machine, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    domain = await m.domain(be_alloc=True)
    frames = [await show(m.host, domain.guest) for _ in range(2)]
    assert way(caplog) == f"by copy (card's memory: {reason})"
    for framebuffer in frames:
        expected = draw_noise(framebuffer)
        await domain.guest.displays[0].flip(framebuffer)
        assert screen(m.host) == expected
    assert m.host.counts.shares == 2
    assert granted(m) == granted(m, domain) == 2 * PAGES
    assert len(m.host.memory.dmabufs) == 0, "no refused memory stays"
    assert held(m.host, domain) == 0
    for framebuffer in frames:
        await domain.guest.destroy_framebuffer(framebuffer)
    await show(m.host, domain.guest)
    assert m.host.counts.shares == 2, "what it gave back is given to it again"


@pytest.mark.parametrize("name", REFUSALS)
async def test_where_the_cards_memory_does_not_do_pages_of_ours_are_copied(
    caplog: pytest.LogCaptureFixture, name: str
) -> None:
    reason, run = REFUSALS[name]
    async with run() as m:
        await by_copy(m, caplog, reason)


async def test_without_systemd_the_cards_memory_is_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as m:
        # The allocator asks at each allocation.
        m.host.fds.available = False
        await by_copy(m, caplog, "no systemd to hold it over our end")
        assert m.host.counts.grants == 0


async def test_a_guest_without_be_alloc_beside_it_is_not_affected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as m:
        await show(m.host, await m.guest(("HDMI-A-2", "800x600")), "HDMI-A-2")
        await show(m.host, (await m.domain(be_alloc=True)).guest)
        assert way(caplog) == CARD


async def test_no_guest_sees_what_the_one_before_drew() -> None:
    for pitch_align in (64, 256):
        async with running(pitch_align=pitch_align) as m:
            first = await m.domain(be_alloc=True)
            await show(m.host, first.guest)
            await m.host.toolstack.destroy(first)
            await freed(m.host, first)
            second = await m.domain(be_alloc=True)
            framebuffer = await create(second.guest)
            assert not any(framebuffer.buffer.pixels)


# Budgets


@pytest.mark.parametrize("pitch_align", [64, 256])
async def test_a_domain_gets_no_more_than_its_budget(
    caplog: pytest.LogCaptureFixture, pitch_align: int
) -> None:
    async with running(allowing(per_domain=4), pitch_align=pitch_align) as m:
        greedy = await m.domain(be_alloc=True)
        await show(m.host, greedy.guest)
        second = await create(greedy.guest)
        assert await refused(greedy.guest) == errno.ENOSPC
        assert "469 pages on top of 938 are over the budget" in caplog.text
        assert "per-domain = 4 MiB" in caplog.text
        assert granted(m, greedy) == 2 * PAGES
        other = await m.domain(("HDMI-A-2", "800x600"), name="other", be_alloc=True)
        await show(m.host, other.guest, "HDMI-A-2")
        expected = draw_noise(second)
        await greedy.guest.displays[0].flip(second)
        assert screen(m.host) == expected


@pytest.mark.parametrize("pitch_align", [64, 256])
async def test_all_domains_get_no_more_than_the_total(
    caplog: pytest.LogCaptureFixture, pitch_align: int
) -> None:
    async with running(allowing(per_domain=4, total=4), pitch_align=pitch_align) as m:
        first = await m.domain(be_alloc=True)
        await show(m.host, first.guest)
        await create(first.guest)
        other = await m.domain(("HDMI-A-2", "800x600"), name="other", be_alloc=True)
        assert await refused(other.guest) == errno.ENOSPC
        assert "total = 4 MiB" in caplog.text
        assert granted(m, other) == 0
        await m.host.toolstack.destroy(first)
        await freed(m.host, first)
        await show(m.host, other.guest, "HDMI-A-2")


async def test_what_was_given_back_is_given_again(caplog: pytest.LogCaptureFixture) -> None:
    async with running(allowing(per_domain=2)) as m:
        domain = await m.domain(be_alloc=True)
        refs: set[tuple[int, ...]] = set()
        for _ in range(3):
            framebuffer = await show(m.host, domain.guest)
            assert way(caplog) == CARD
            refs.add(tuple(framebuffer.buffer.refs))
            await domain.guest.destroy_framebuffer(framebuffer)
            assert is_dark(m.host)
            assert granted(m, domain) == PAGES
        assert len(refs) == 1
        counts = m.host.counts
        assert (counts.grants, counts.dumb) == (1, 2), "the guest's, and the black one"


async def test_it_is_given_again_after_the_guest_connected_again() -> None:
    async with running(allowing(per_domain=2)) as m:
        domain = await m.domain(be_alloc=True)
        await show(m.host, domain.guest)
        await domain.guest.unload()
        await m.released(domain.domid)
        assert is_dark(m.host)
        await domain.guest.load()
        await domain.guest.connected()
        await show(m.host, domain.guest)
        assert m.host.counts.grants == 1


async def test_two_buffers_of_one_shape_are_never_the_same_memory() -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        await domain.guest.destroy_framebuffer(await create(domain.guest))
        first, second = await create(domain.guest), await create(domain.guest)
        assert not set(first.buffer.refs) & set(second.buffer.refs)
        assert m.host.counts.grants == 2


async def test_card_memory_counts_until_its_domain_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(allowing(per_domain=2, total=2)) as m:
        first = await m.domain(be_alloc=True)
        await first.guest.destroy_framebuffer(await create(first.guest))
        with pytest.raises(GuestError) as caught:
            await first.guest.create_framebuffer(640, 480, "XR24")
        assert caught.value.errno == errno.ENOSPC
        assert "memory counts until its domain is gone" in caplog.text
        await m.host.toolstack.destroy(first)
        await freed(m.host, first)
        second = await m.domain(be_alloc=True)
        await second.guest.create_framebuffer(640, 480, "XR24")
        assert intact(m.host)


async def test_pages_that_a_hostile_guest_keeps_count() -> None:
    async with running(allowing(per_domain=2), pitch_align=256) as m:
        domain = await m.domain(be_alloc=True)
        domain.guest.keep_mapped = True
        for height in (600, 500, 600, 400, 300):
            with contextlib.suppress(GuestError):
                framebuffer = await domain.guest.create_framebuffer(800, height, "XR24")
                await domain.guest.destroy_framebuffer(framebuffer)
        assert granted(m) + m.host.memory.backend.kept(domain.domid) <= 512


async def test_pages_that_gntalloc_refuses_do_not_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(table: SimGrantTable, domid: int, pages: int) -> SimSharedPages:
        raise HostError("over the limit", call="IOCTL_GNTALLOC_ALLOC_GREF", errno=errno.ENOSPC)

    async with running(allowing(per_domain=2), pitch_align=256) as m:
        domain = await m.domain(be_alloc=True)
        with monkeypatch.context() as patch:
            patch.setattr(SimGrantTable, "share", refuse)
            assert await refused(domain.guest) == errno.ENOSPC
        assert "DBUF_CREATE: over the limit (IOCTL_GNTALLOC_ALLOC_GREF" in caplog.text
        await show(m.host, domain.guest)


# Bad requests


def request(buffer: GuestBuffer, **changes: int) -> DbufCreate:
    """One that would succeed, but for ``changes``."""
    fields = {
        "dbuf_cookie": buffer.cookie,
        "width": 800,
        "height": 600,
        "bpp": 32,
        "buffer_sz": SIZE,
        "flags": REQ_ALLOC,
        "gref_directory": buffer.directory_ref,
    }
    return DbufCreate(0, **(fields | changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0),
        ({"data_ofs": 64}, errno.EINVAL),
        ({"width": 0, "height": 0, "bpp": 0}, errno.EINVAL),
        ({"width": 0}, errno.EINVAL),
        ({"buffer_sz": 0}, errno.EINVAL),
        ({"buffer_sz": 4096}, errno.EINVAL),
        ({"buffer_sz": SIZE * 2}, errno.EINVAL),
        ({"gref_directory": 0}, errno.EINVAL),
        ({"flags": REQ_ALLOC | 2}, errno.EINVAL),
    ],
)
async def test_dbuf_create_with_bad_values(changes: dict[str, int], expected: int) -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        create = request(domain.guest.allocate(SIZE), **changes)
        assert -(await domain.guest.request(0, create)).status == expected
        assert m.host.counts.dumb == (0 if expected else 1)


@pytest.mark.parametrize("pitch_align", [64, 256])
async def test_only_the_references_are_written_into_the_directory(pitch_align: int) -> None:
    """800x1400: two pages of directory, the second not full."""
    async with running(pitch_align=pitch_align) as m:
        domain = await m.domain(be_alloc=True)
        size, pages = 800 * 1400 * 4, 1094
        buffer = domain.guest.allocate(size)
        before = bytearray(os.urandom(len(buffer.directory)))
        struct.pack_into("<I", before, 0, buffer.directory_refs[1])
        buffer.directory[:] = before
        create = request(buffer, height=1400, buffer_sz=size)
        assert (await domain.guest.request(0, create)).status == 0
        rest = pages - 1023
        refs = [
            *struct.unpack_from("<1023I", buffer.directory, 4),
            *struct.unpack_from(f"<{rest}I", buffer.directory, 4096 + 4),
        ]
        assert len(set(refs)) == pages == granted(m, domain)
        assert all(refs)
        assert buffer.directory[:4] == before[:4]
        assert buffer.directory[4096:4100] == before[4096:4100]
        assert buffer.directory[4096 + 4 * (1 + rest) :] == before[4096 + 4 * (1 + rest) :]
        assert m.host.memory.mapped(domain.domid) == RING_PAGES


def end_it_early(buffer: GuestBuffer) -> None:
    buffer.set_directory_entry(0, 0, 0)


def loop_it(buffer: GuestBuffer) -> None:
    buffer.set_directory_entry(0, 0, buffer.directory_ref)


def name_an_unknown_page(buffer: GuestBuffer) -> None:
    buffer.set_directory_entry(0, 0, 0x7FFFFFF)


@pytest.mark.parametrize("forge", [end_it_early, loop_it, name_an_unknown_page])
@pytest.mark.parametrize("pitch_align", [64, 256])
async def test_a_directory_that_does_not_hold_the_references_is_refused(
    pitch_align: int, forge: Callable[[GuestBuffer], None]
) -> None:
    """The budget is for one buffer: what was allocated for the bad one is used again."""
    size = 800 * 1400 * 4
    async with running(allowing(per_domain=5), pitch_align=pitch_align) as m:
        domain = await m.domain(be_alloc=True)
        for _ in range(2):
            buffer = domain.guest.allocate(size)
            forge(buffer)
            create = request(buffer, height=1400, buffer_sz=size)
            assert (await domain.guest.request(0, create)).status == -errno.EINVAL
            assert m.host.memory.mapped(domain.domid) == RING_PAGES
        assert granted(m, domain) == 1094, "it stays in the domain's pool"
        good = await domain.guest.create_framebuffer(800, 1400, "XR24")
        good.fill(0x336699)
        display = domain.guest.displays[0]
        await display.mode_set(0, 0, 800, 600, 32, good.cookie)
        assert screen(m.host) == bytes.fromhex("99663300") * (800 * 600)


async def test_a_read_only_directory_is_refused() -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        page = domain.memory.allocate(1)[0]
        ref = domain.memory.grant(page, 0, readonly=True)
        create = request(domain.guest.allocate(SIZE), gref_directory=ref)
        assert (await domain.guest.request(0, create)).status == -errno.EINVAL
        await show(m.host, domain.guest)
        assert m.host.counts.grants == 1


# The end of a guest


async def test_a_destroyed_guests_memory_is_freed_when_it_is_gone() -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        await show(m.host, domain.guest)
        await m.host.toolstack.destroy(domain)
        assert is_dark(m.host)
        await all_freed(m.host, domain)
        assert intact(m.host)


async def test_a_closed_backend_frees_nothing_while_the_guest_may_map_it() -> None:
    """``xl destroy`` closes the backend first, then ends the guest."""
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        domain.guest.keep_mapped = True
        await show(m.host, domain.guest)
        await m.host.toolstack.detach(domain)
        assert is_dark(m.host)
        # Another domain's end is none of this one's.
        await m.host.toolstack.destroy(await m.domain(("HDMI-A-2", "800x600"), name="other"))
        await trio.sleep(2 * allocation.SETTLE_SECONDS)
        assert granted(m, domain) == PAGES
        assert held(m.host, domain) == 1
        assert intact(m.host)
        domain.die()
        await all_freed(m.host, domain)
        assert intact(m.host)


@pytest.mark.parametrize("pitch_align", [64, 256])
async def test_a_guest_that_dies_in_the_middle_of_flips(pitch_align: int) -> None:
    async with running(pitch_align=pitch_align) as m:
        domain = await m.domain(be_alloc=True)
        frames = [await show(m.host, domain.guest) for _ in range(2)]
        with trio.move_on_after(0.1):
            while True:
                for framebuffer in frames:
                    await domain.guest.displays[0].flip(framebuffer)
        domain.die()
        await m.released(domain.domid)
        assert is_dark(m.host)
        await all_freed(m.host, domain)
        assert intact(m.host)


async def test_a_hostile_guest_that_keeps_its_mapping_harms_nobody() -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        domain.guest.keep_mapped = True
        first = await show(m.host, domain.guest)
        await domain.guest.destroy_framebuffer(first)
        assert granted(m, domain) == PAGES
        first.buffer.pixels[:4] = b"mine"
        other = await m.domain(("HDMI-A-2", "800x600"), name="other", be_alloc=True)
        framebuffer = await show(m.host, other.guest, "HDMI-A-2")
        first.buffer.pixels[:] = bytes(len(first.buffer.pixels))
        expected = draw_noise(framebuffer)
        assert screen(m.host, "HDMI-A-2") == expected
        assert intact(m.host)
        del first
        domain.die()
        await freed(m.host, domain)
        assert intact(m.host)
        assert screen(m.host, "HDMI-A-2") == expected
        assert granted(m) == granted(m, other) == PAGES


async def test_two_domains_memory_does_not_mix() -> None:
    async with running() as m:
        first = await m.domain(be_alloc=True, name="first")
        second = await m.domain(("HDMI-A-2", "800x600"), be_alloc=True, name="second")
        given_back = await create(first.guest)
        refs = given_back.buffer.refs
        await first.guest.destroy_framebuffer(given_back)
        framebuffer = await show(m.host, second.guest, "HDMI-A-2")
        assert not set(refs) & set(framebuffer.buffer.refs), "what the first gave back is its own"
        assert second.memory.map_granted(refs) is None
        assert (held(m.host, first), held(m.host, second)) == (1, 1)
        first.die()
        await freed(m.host, first)
        assert granted(m, second) == PAGES
        assert held(m.host, second) == 1
        expected = draw_noise(framebuffer)
        assert screen(m.host, "HDMI-A-2") == expected


def slow_grants(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """As if they were of many pages."""
    grant = SimGrantTable.grant

    def slow(table: SimGrantTable, domid: int, dmabuf: int, pages: int) -> SimGrantedPages:
        time.sleep(seconds)
        return grant(table, domid, dmabuf, pages)

    monkeypatch.setattr(SimGrantTable, "grant", slow)


@pytest.mark.parametrize("seconds", [0.1, 0.5])
async def test_a_domain_that_goes_while_memory_is_granted_to_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, seconds: float
) -> None:
    """Before and after the time for which its memory is kept."""
    async with running(allowing(total=4)) as m:
        domain = await m.domain(be_alloc=True)
        await create(domain.guest)
        slow_grants(monkeypatch, seconds)

        async def create_and_lose() -> None:
            with pytest.raises(GuestError):
                await create(domain.guest)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(create_and_lose)
            await trio.sleep(0.05)
            domain.die()
        await m.released(domain.domid)
        # The end of any domain is when what came too late is looked for.
        (await m.domain(name="other")).die()
        await all_freed(m.host, domain)
        assert "fault" not in caplog.text
        following = await m.domain(be_alloc=True)
        for _ in range(2):
            await create(following.guest)


async def test_one_descriptor_is_held_for_a_domain_with_two_devices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        second = await m.host.toolstack.attach(domain, [("HDMI-A-2", "800x600")])
        await second.connected()
        second.be_alloc = True
        slow_grants(monkeypatch, 0.1)
        async with trio.open_nursery() as nursery:
            for guest in (domain.guest, second):
                nursery.start_soon(create, guest)
        assert granted(m, domain) == 2 * PAGES
        assert held(m.host, domain) == 1
        domain.die()
        await all_freed(m.host, domain)


async def test_a_card_that_vanishes_frees_nothing_before_the_guest_is_gone() -> None:
    async with running() as m:
        domain = await m.domain(be_alloc=True)
        await show(m.host, domain.guest)
        m.host.device.unplug()
        await trio.sleep(0.2)
        assert granted(m, domain) == PAGES
        domain.die()
        await freed(m.host, domain)
        assert intact(m.host)


# The end of the daemon


@asynccontextmanager
async def daemon(host: SimHost, *, killed: bool = False) -> AsyncGenerator[Machine, None]:
    """One of several on ``host``, one after the other."""
    async with trio.open_nursery() as nursery:
        service = Service(allowing(), host)
        await nursery.start(service.run)
        yield Machine(host, service)
        if killed:
            nursery.cancel_scope.cancel()
        else:
            service.stop()
    host.fds.daemon_ended()


@asynccontextmanager
async def hosting(*connectors: str) -> AsyncGenerator[SimHost, None]:
    with trio.fail_after(TEST_SECONDS):
        kernel = SimKernel(gntdev_dmabuf=True)
        async with SimHost([fitting(*connectors)], kernel) as host:
            yield host


@pytest.mark.parametrize("killed", [False, True])
async def test_the_next_daemon_frees_what_a_guest_maps_over_a_restart(killed: bool) -> None:
    async with hosting() as host:
        async with daemon(host, killed=killed) as m:
            domain = await m.domain(be_alloc=True)
            domain.guest.keep_mapped = True
            await show(host, domain.guest)
        assert host.memory.backend.granted(domain.domid) == PAGES
        assert held(host, domain) == 1
        async with daemon(host):
            await trio.sleep(2 * allocation.SETTLE_SECONDS)
            assert host.memory.backend.granted(domain.domid) == PAGES
            assert intact(host)
            domain.die()
            await freed(host, domain)
            assert len(host.memory.dmabufs) == 0
            assert intact(host)


async def test_a_domain_that_ended_while_no_daemon_ran_is_noticed_by_the_next() -> None:
    async with hosting() as host:
        async with daemon(host) as m:
            domain = await m.domain(be_alloc=True)
            domain.guest.keep_mapped = True
            await show(host, domain.guest)
        domain.die()
        async with daemon(host):
            await freed(host, domain)
            assert len(host.memory.dmabufs) == 0
            assert intact(host)


async def test_memory_of_two_daemons_is_held_for_one_domain() -> None:
    """It was one buffer's, and is the next one's."""
    async with hosting() as host:
        async with daemon(host) as m:
            domain = await m.domain(be_alloc=True)
            domain.guest.keep_mapped = True
            await show(host, domain.guest)
        async with daemon(host) as m:
            await domain.guest.connected()
            while not m.service.outputs._settled:  # pyright: ignore[reportPrivateUsage]
                await trio.sleep(0.01)
            await show(host, domain.guest)
            assert held(host, domain) == 1
        async with daemon(host):
            await domain.guest.connected()
            assert host.memory.backend.granted(domain.domid) == PAGES
            assert intact(host)
            domain.die()
            await freed(host, domain)
            assert len(host.memory.dmabufs) == 0
            assert intact(host)


async def test_over_a_restart_two_domains_do_not_mix() -> None:
    async with hosting() as host:
        async with daemon(host) as m:
            first = await m.domain(be_alloc=True, name="first")
            second = await m.domain(("HDMI-A-2", "800x600"), be_alloc=True, name="second")
            for domain, name in ((first, "HDMI-A-1"), (second, "HDMI-A-2")):
                domain.guest.keep_mapped = True
                await show(host, domain.guest, name)
        async with daemon(host):
            first.die()
            await freed(host, first)
            await trio.sleep(2 * allocation.SETTLE_SECONDS)
            assert host.memory.backend.granted(second.domid) == PAGES
            assert held(host, second) == 1
            assert intact(host)
            second.die()
            await freed(host, second)


# A guest whose device is held open comes back when its last user closed it


@pytest.mark.parametrize("killed", [False, True])
async def test_a_guest_whose_device_is_held_open_comes_back_to_the_next_daemon(
    killed: bool,
) -> None:
    async with hosting() as host:
        async with daemon(host, killed=killed) as m:
            domain = await m.domain(be_alloc=True)
            guest = domain.guest
            guest.open_device()
            await show(host, guest)
        async with daemon(host):
            await guest.wait_state(S.Reconfiguring)
            await guest.wait_backend(S.InitWait)
            await trio.sleep(0.5)
            assert guest.state is S.Reconfiguring
            guest.close_device()
            await guest.connected()
            await show(host, guest)
            assert intact(host)


@pytest.mark.parametrize("killed", [False, True])
async def test_it_comes_back_if_it_is_closed_while_no_daemon_runs(killed: bool) -> None:
    async with hosting() as host:
        async with daemon(host, killed=killed) as m:
            domain = await m.domain(be_alloc=True)
            guest = domain.guest
            guest.open_device()
            await show(host, guest)
        if not killed:
            await guest.unplugged()
        guest.close_device()
        async with daemon(host):
            await guest.connected()
            await show(host, guest)


@pytest.mark.parametrize("first", [S.Connected, S.Reconfiguring])
async def test_init_wait_is_written_again_though_the_daemon_saw_only_initialising(
    first: S,
) -> None:
    """The frontend is at ``first`` when the daemon starts; Reconfiguring and Initialising follow at once."""
    async with hosting() as host:
        domain = await host.toolstack.create(
            [("HDMI-A-1", "800x600")], be_alloc=True, start=False, wait=False
        )
        guest = domain.guest
        guest.write_state(str(int(first)))
        path = f"{guest.backend_path}/state"
        written: list[str | None] = []
        async with daemon(host):
            assert host.toolstack.store.get(path) == "2"
            await trio.sleep(0.2)
            with host.toolstack.store.watch(
                path, lambda: written.append(host.toolstack.store.get(path))
            ):
                await trio.sleep(0.1)
                written.clear()
                guest.write_state("7")
                guest.write_state("1")
                await trio.sleep(0.3)
            assert written == ["2"]


async def test_a_frontend_that_its_users_leave_at_once_connects_again() -> None:
    async with hosting() as host:
        async with daemon(host, killed=True) as m:
            domain = await m.domain(be_alloc=True)
            guest = domain.guest
            guest.open_device()

        async def close_at_once() -> None:
            await guest.unplugged()
            guest.close_device()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(close_at_once)
            async with daemon(host):
                await guest.connected()
                await guest.wait_backend(S.Connected)
                await show(host, guest)
