# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory of the backend that a guest draws in: card memory that is granted, and pages from gntalloc."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator

import pytest

from tests.sim.kit import GUEST, PICTURE, SIZE, Bench
from xendisplback.errors import HostError
from xendisplback.sim.controller import MemoryNeeds
from xendisplback.sim.fd_store import SimFdStore

PAGES = SIZE[0] * SIZE[1] * 4 // 4096


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench.new()
    yield bench
    bench.close()


def test_card_memory_is_drawn_in_and_shown(bench: Bench) -> None:
    # Contiguous and its own: the card takes it whatever it needs.
    bench.device.controller.needs = MemoryNeeds.CONTIGUOUS
    memory = bench.card.dumb_memory(*SIZE, 32)
    assert (memory.pitch, memory.size) == (SIZE[0] * 4, PAGES * 4096)
    assert not any(ctypes.string_at(memory.address, memory.size))
    granted = bench.table.grant(GUEST, memory.fd, PAGES)
    assert (len(granted.refs), bench.machine.backend.granted(GUEST)) == (PAGES, PAGES)
    framebuffer = bench.card.import_framebuffer(memory.fd, PICTURE)
    bench.modeset(framebuffer).commit(allow_modeset=True)
    mapping = bench.memory.map_granted(granted.refs)
    assert mapping is not None
    mapping.view()[:] = b"\x01\x02\x03\x00" * (PAGES * 1024)
    assert bench.shown() == ctypes.string_at(memory.address, memory.size) == bytes(mapping.view())
    mapping.close()
    framebuffer.close()
    granted.close()
    granted.close()
    memory.close()
    memory.close()
    assert (bench.machine.backend.granted(), len(bench.machine.dmabufs)) == (0, 0)


def test_a_grant_must_have_the_buffers_size(bench: Bench) -> None:
    memory = bench.card.dumb_memory(*SIZE, 32)
    for pages in (PAGES - 1, PAGES + 1):
        with pytest.raises(HostError) as caught:
            bench.table.grant(GUEST, memory.fd, pages)
        assert caught.value.errno == errno.EINVAL
    bench.machine.kernel.gntdev_dmabuf = False
    with pytest.raises(HostError) as caught:
        bench.table.grant(GUEST, memory.fd, PAGES)
    assert (caught.value.call, caught.value.errno) == ("xengnttab_dmabuf_imp_to_refs", errno.ENOTTY)
    memory.close()


def test_card_memory_that_is_freed_in_use_is_told(bench: Bench) -> None:
    memory = bench.card.dumb_memory(*SIZE, 32)
    granted = bench.table.grant(GUEST, memory.fd, PAGES)
    assert bench.memory.map_granted(granted.refs[:7]) is not None
    granted.close()
    assert bench.machine.backend.freed_in_use == 0, "the card has it still"
    memory.close()
    assert bench.machine.backend.freed_in_use == 7
    bench.machine.destroy(GUEST)
    assert bench.machine.backend.kept() == 0


def test_grants_live_as_long_as_their_handle_is_open_anywhere(bench: Bench) -> None:
    backend, process = bench.machine.backend, bench.machine.process
    memory = bench.card.dumb_memory(*SIZE, 32)
    bench.table.grant(GUEST, memory.fd, PAGES)
    copy = os.dup(bench.table.fd)
    bench.table.close()
    process.end()
    assert (backend.granted(), len(bench.machine.dmabufs)) == (PAGES, 1)
    os.close(copy)
    assert (backend.granted(), len(bench.machine.dmabufs)) == (0, 0)


def test_what_a_process_leaves_open_ends_with_it(bench: Bench) -> None:
    memory = bench.card.dumb_memory(*SIZE, 32)
    bench.table.grant(GUEST, memory.fd, PAGES)
    bench.table.share(GUEST, 5)
    bench.machine.process.end()
    assert (bench.machine.backend.granted(), len(bench.machine.dmabufs)) == (0, 0)


def test_the_fd_store_holds_a_handle_for_the_next_process(bench: Bench) -> None:
    backend, store = bench.machine.backend, SimFdStore(bench.machine.process)
    memory = bench.card.dumb_memory(*SIZE, 32)
    bench.table.grant(GUEST, memory.fd, PAGES)
    store.keep("name", bench.table.fd)
    last = -1
    for _ in range(3):
        store.daemon_ended()
        assert backend.granted() == PAGES
        held = store.take()
        assert store.take() == {}
        assert held.keys() == {"name"}
        (last,) = held["name"]
    # The last of these processes ends what the first began; the others left their copies open.
    os.close(last)
    assert backend.granted() == PAGES
    store.drop("name")
    assert backend.granted() == 0
    store.daemon_ended()
    assert store.take() == {}
    store.close()


def test_dumb_rows_are_as_the_card_wants_them(bench: Bench) -> None:
    memory = bench.card.dumb_memory(800, 600, 32)
    assert memory.pitch == 3328
    memory.close()
    bench.device.controller.dumb_pitch_align = 64
    memory = bench.card.dumb_memory(800, 600, 32)
    assert memory.pitch == 3200
    memory.close()


def test_shared_pages_are_the_same_on_both_sides(bench: Bench) -> None:
    bench.machine.kernel.gntdev_dmabuf = False
    shared = bench.table.share(GUEST, 3)
    assert (len(shared.refs), shared.length) == (3, 3 * 4096)
    mapping = bench.memory.map_granted(list(reversed(shared.refs)))
    assert mapping is not None
    view = mapping.view()
    assert not any(view)
    view[:5] = b"guest"
    assert ctypes.string_at(shared.address + 2 * 4096, 5) == b"guest"
    mapping.close()
    shared.close()
    assert bench.machine.backend.granted() == 0


def test_what_a_guest_may_not_map(bench: Bench) -> None:
    others = bench.table.share(GUEST + 1, 1)
    ours = bench.table.share(GUEST, 1)
    assert bench.memory.map_granted([*ours.refs, *others.refs]) is None
    assert bench.memory.map_granted([0]) is None
    refs = ours.refs
    ours.close()
    assert bench.memory.map_granted(refs) is None
    others.close()


def test_what_a_guest_keeps_mapped_stays_its_memory(bench: Bench) -> None:
    shared = bench.table.share(GUEST, 2)
    mapping = bench.memory.map_granted(shared.refs)
    assert mapping is not None
    shared.close()
    assert (bench.machine.backend.granted(GUEST), bench.machine.backend.kept(GUEST)) == (0, 2)
    mapping.view()[:4] = b"mine"
    assert bytes(mapping.view()[:4]) == b"mine"
    mapping.close()
    assert bench.machine.backend.kept() == 0
