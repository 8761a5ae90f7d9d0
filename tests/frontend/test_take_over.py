# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon is killed at any moment, and the next one goes on: the guest sees nothing, or at worst an unplug."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from tests.frontend.killable import KillableDaemon
from xendisplback.config import BackendAllocation, Config
from xendisplback.frontend.journal import Journal, KeptConnection
from xendisplback.protocol.displif import DbufCreate, FbAttach
from xendisplback.protocol.formats import fourcc
from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.controller import Controller, MemoryNeeds
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import GuestFramebuffer
from xendisplback.sim.guest_buffer import OwnBuffer
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel

RED, GREEN = 0xFF0000, 0x00FF00
OUTPUT = "HDMI-A-1"


@dataclass
class Scene:
    host: SimHost
    config: Config | None
    monkeypatch: pytest.MonkeyPatch
    daemon: KillableDaemon

    async def next(self) -> None:
        """Another daemon, when all that the earlier one left is taken over or removed."""
        self.daemon = KillableDaemon(self.host, self.config, self.monkeypatch)
        await self.daemon.start()
        while not self.daemon.service.outputs._settled:  # pyright: ignore[reportPrivateUsage]
            await trio.sleep(0.01)

    @property
    def colour(self) -> int | None:
        screen = self.host.device.screen(OUTPUT)
        return None if screen is None else screen.colour(5, 5)


@asynccontextmanager
async def scene(
    monkeypatch: pytest.MonkeyPatch,
    *,
    config: Config | None = None,
    kernel: SimKernel | None = None,
    controller: Controller | None = None,
) -> AsyncGenerator[Scene, None]:
    """Fails if the last daemon leaves anything."""
    device = DisplayDevice(controller=controller)
    with trio.fail_after(30):
        async with SimHost([device], kernel) as host:
            made = Scene(host, config, monkeypatch, KillableDaemon(host, config, monkeypatch))
            await made.daemon.start()
            yield made
            await made.daemon.stop()
            assert host.memory.mapped() == 0
            assert device.framebuffers == 0
            host.fds.close()
            assert host.memory.backend.granted() == 0


async def started(m: Scene, *, be_alloc: bool = False) -> Domain:
    domain = await m.host.toolstack.create([(OUTPUT, "800x600")], be_alloc=be_alloc)
    await domain.guest.connected()
    return domain


def unplugs(domain: Domain) -> Callable[[], int]:
    """How often the guest's state changed from now on."""
    count = 0

    def changed() -> None:
        nonlocal count
        count += 1

    watch = domain.store.watch(f"{domain.guest.path}/state", changed)
    watch.__enter__()
    return lambda: count


async def frames(domain: Domain) -> list[GuestFramebuffer]:
    made: list[GuestFramebuffer] = []
    for colour in (RED, GREEN):
        frame = await domain.guest.create_framebuffer(800, 600)
        frame.buffer.pixels[:] = colour.to_bytes(4, "little") * (800 * 600)
        made.append(frame)
    return made


BE_ALLOC = Config(be_alloc=BackendAllocation(per_domain=16))


@pytest.mark.parametrize("way", ["copy", "zero copy", "be-alloc", "be-alloc by gntalloc"])
async def test_a_guest_goes_on_flipping_after_its_daemon_was_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.INFO)
    kernel = SimKernel(gntdev_dmabuf=way in ("zero copy", "be-alloc"))
    # Its dumb buffers have the pitch of 800x600.
    controller = Controller(needs=MemoryNeeds.CONTIGUOUS, iommu=True, dumb_pitch_align=64)
    be_alloc = way.startswith("be-alloc")
    async with scene(
        monkeypatch,
        config=BE_ALLOC if be_alloc else None,
        kernel=kernel,
        controller=controller,
    ) as m:
        domain = await started(m, be_alloc=be_alloc)
        display = domain.guest.displays[0]
        red, green = await frames(domain)
        await display.enable(red)
        await display.flip(green)
        assert m.colour == GREEN
        modesets = m.host.device.modesets
        for _ in range(3):
            state_changes = unplugs(domain)
            await m.daemon.kill()
            assert m.colour == GREEN, "the picture stays"
            await m.next()
            assert "taken over, as it was" in caplog.text
            assert ("card's memory" in caplog.text) == be_alloc
            caplog.clear()
            assert m.colour == GREEN
            await display.flip(red)
            await display.flip(green)
            assert state_changes() == 0
        assert m.host.device.modesets == modesets
        assert display.frame_done_timeouts == display.skipped_events == 0
        assert m.host.device.framebuffers <= 4, "none of an earlier daemon's"
        await domain.guest.destroy_framebuffer(red)
        await m.host.toolstack.destroy(domain)


@pytest.mark.parametrize("card_memory", [True, False])
async def test_memory_that_a_guest_gave_back_is_its_own_again_after_a_restart(
    monkeypatch: pytest.MonkeyPatch, *, card_memory: bool
) -> None:
    """The budget is for two buffers of 469 pages."""
    config = Config(be_alloc=BackendAllocation(per_domain=4))
    kernel = SimKernel(gntdev_dmabuf=card_memory)
    controller = Controller(needs=MemoryNeeds.CONTIGUOUS, dumb_pitch_align=64)
    async with scene(monkeypatch, config=config, kernel=kernel, controller=controller) as m:
        domain = await started(m, be_alloc=True)
        display = domain.guest.displays[0]
        red, green = await frames(domain)
        await display.enable(red)
        for _ in range(3):
            await domain.guest.destroy_framebuffer(green)
            await m.daemon.kill()
            await m.next()
            green = await domain.guest.create_framebuffer(800, 600)
            green.buffer.pixels[:] = GREEN.to_bytes(4, "little") * (800 * 600)
            await display.flip(green)
            assert m.colour == GREEN
            await display.flip(red)
            assert m.host.memory.backend.granted(domain.domid) == 2 * 469
        await m.host.toolstack.destroy(domain)


async def test_a_flip_that_was_answered_gets_its_event_from_the_next_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(monkeypatch) as m:
        domain = await started(m)
        display = domain.guest.displays[0]
        red, green = await frames(domain)
        await display.enable(red)
        await display.flip(green)
        m.host.device.stuck = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(display.flip, red)
            await trio.sleep(0.1)
            await m.daemon.kill()
            m.host.device.stuck = False
            await m.next()
        assert m.colour == RED
        assert display.frame_done_timeouts == display.skipped_events == 0
        await display.flip(green)


@pytest.mark.parametrize("answered", [False, True])
async def test_a_request_on_its_way_is_done_once(
    monkeypatch: pytest.MonkeyPatch, answered: bool
) -> None:
    """Killed before anything of it was done, or when it was written down and not answered."""
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()
    note = Journal.write

    def killed_here(journal: Journal, state: KeptConnection) -> None:
        if answered:
            note(journal, state)
        token.run_sync_soon(done.set)
        threading.Event().wait()

    async with scene(monkeypatch) as m:
        domain = await started(m)
        guest = domain.guest
        (red, _) = await frames(domain)
        monkeypatch.setattr(Journal, "write", killed_here)
        buffer = guest.allocate(800 * 600 * 4)
        create = DbufCreate(0, buffer.cookie, 800, 600, 32, buffer.size, 0, buffer.directory_ref)
        answers: list[int] = []

        async def ask() -> None:
            answers.append((await guest.request(0, create)).status)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await done.wait()
            monkeypatch.setattr(Journal, "write", note)
            m.host.channels.end_of(0)
            m.host.memory.kill()
            m.host.fds.daemon_ended()
            await m.next()
        assert answers == [0]
        attach = FbAttach(0, buffer.cookie, 77, 800, 600, fourcc("XR24"))
        assert (await guest.request(0, attach)).status == 0
        await guest.displays[0].enable(red)


@pytest.mark.parametrize("what", ["pages", "nodes", "rings"])
async def test_what_does_not_match_costs_that_guest_an_unplug_and_no_other(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    async with scene(monkeypatch) as m:
        domain = await started(m)
        other = await m.host.toolstack.create([("HDMI-A-2", "800x600")], name="other")
        await other.guest.connected()
        for each in (domain, other):
            red, _ = await frames(each)
            await each.guest.displays[0].enable(red)
        await m.daemon.kill()
        guest = domain.guest
        if what == "pages":
            (buffer, *_) = guest._buffers  # pyright: ignore[reportPrivateUsage]
            assert isinstance(buffer, OwnBuffer)
            buffer.set_directory_entry(0, 3, guest.allocate(4096).directory_ref)
        elif what == "nodes":
            domain.store.write(f"{guest.path}/0/req-ring-ref", "4711")
        else:
            guest.displays[0].requests.shared.store(8, 1000)
        quiet = unplugs(other)
        await m.next()
        assert "not taken over, it has to connect anew" in caplog.text
        assert quiet() == 0
        await guest.wait_backend(XenbusState.InitWait)
        red, green = await frames(other)
        await other.guest.displays[0].enable(red)
        await other.guest.displays[0].flip(green)
        # From its new connection on it is as any other.
        if what != "nodes":
            await guest.connected()
            red, _ = await frames(domain)
            await guest.displays[0].enable(red)
            caplog.clear()
            await m.daemon.kill()
            await m.next()
            assert "connect anew" not in caplog.text
            assert m.colour == RED


async def test_a_guest_that_died_meanwhile_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scene(monkeypatch, kernel=SimKernel(gntdev_dmabuf=True)) as m:
        domain = await started(m)
        red, _ = await frames(domain)
        await domain.guest.displays[0].enable(red)
        await m.daemon.kill()
        domain.die()
        await m.next()
        while m.colour == RED:
            await trio.sleep(0.01)
        while m.host.memory.mapped():
            await trio.sleep(0.01)
        following = await started(m)
        red, _ = await frames(following)
        await following.guest.displays[0].enable(red)
        assert m.colour == RED


async def test_a_stop_is_no_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene(monkeypatch) as m:
        domain = await started(m)
        red, _ = await frames(domain)
        await domain.guest.displays[0].enable(red)
        await m.daemon.stop()
        assert m.colour is None
        assert set(m.host.fds.held) == set()
        await m.next()
        await domain.guest.connected()


@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_any_moment_nothing_a_guest_asks_for_is_lost(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """While it makes, shows and destroys buffers: every request succeeds, and the last flip is what is shown."""
    choose = random.Random(seed)
    async with scene(monkeypatch, kernel=SimKernel(gntdev_dmabuf=bool(seed % 2))) as m:
        domain = await started(m)
        guest, display = domain.guest, domain.guest.displays[0]
        shown = RED
        rounds = 0

        async def work() -> None:
            nonlocal shown, rounds
            current, _ = await frames(domain)
            await display.enable(current)
            while True:
                with trio.CancelScope(shield=True):
                    for colour in (GREEN, RED):
                        following = await guest.create_framebuffer(800, 600)
                        following.buffer.pixels[:] = colour.to_bytes(4, "little") * (800 * 600)
                        await display.flip(following)
                        shown = colour
                        await guest.destroy_framebuffer(current)
                        current = following
                    rounds += 1
                await trio.lowlevel.checkpoint()

        state_changes = unplugs(domain)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            for _ in range(6):
                before = rounds
                await trio.sleep(choose.uniform(0, 0.2))
                await m.daemon.kill()
                await m.next()
                while rounds < before + 2:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert state_changes() == 0
        assert display.frame_done_timeouts == display.skipped_events == 0
        assert m.colour == shown
