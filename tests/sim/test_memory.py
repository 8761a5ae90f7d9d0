# SPDX-License-Identifier: GPL-2.0-or-later
"""Granted memory: order, rights, revocation, and what stays when a guest goes."""

from __future__ import annotations

import ctypes
import errno
import threading
import time
from pathlib import Path

import pytest

from xendisplback.errors import HostError
from xendisplback.sim.machine import MachineMemory, SimGrantTable
from xendisplback.sim.mapping import PAGE, runs
from xendisplback.sim.memory import GuestMemory

GUEST = 3


@pytest.fixture
def machine() -> MachineMemory:
    return MachineMemory()


@pytest.fixture
def memory(machine: MachineMemory) -> GuestMemory:
    return machine.create(GUEST)


@pytest.fixture
def table(machine: MachineMemory) -> SimGrantTable:
    return SimGrantTable(machine, 0)


def protection(address: int) -> str:
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if start <= address < end:
            return line.split()[1]
    raise AssertionError(f"{address:#x} is not mapped")


def test_scattered_pages_are_contiguous_in_the_order_of_their_references(
    memory: GuestMemory, table: SimGrantTable
) -> None:
    pages = memory.allocate(100)
    assert sorted(pages) == list(range(100))
    assert len(list(runs(pages))) > 3, "buffers are scattered"
    own = memory.map_own(pages)
    view = own.view()
    for index in range(100):
        view[index * PAGE : (index + 1) * PAGE] = bytes([index]) * PAGE
    refs = [memory.grant(page, 0) for page in reversed(pages)]
    mapping = table.map(GUEST, refs, writable=False)
    assert mapping.length == 100 * PAGE
    seen = ctypes.string_at(mapping.address, mapping.length)
    assert seen == b"".join(bytes([index]) * PAGE for index in reversed(range(100)))
    mapping.close()
    own.close()


@pytest.mark.parametrize("writable", [False, True])
def test_rights_of_a_mapping(memory: GuestMemory, table: SimGrantTable, writable: bool) -> None:
    ref = memory.grant(memory.allocate(1)[0], 0)
    mapping = table.map(GUEST, [ref], writable=writable)
    assert protection(mapping.address) == ("rw-s" if writable else "r--s")
    mapping.close()


def test_what_may_not_be_mapped(memory: GuestMemory, table: SimGrantTable) -> None:
    pages = memory.allocate(3)
    good = memory.grant(pages[0], 0)
    for_another = memory.grant(pages[1], 7)
    readonly = memory.grant(pages[2], 0, readonly=True)
    ended = memory.grant(pages[2], 0)
    memory.end_access(ended)
    for refs, writable in (
        ([good, for_another], False),
        ([readonly], True),
        ([ended], False),
        ([0], False),
    ):
        with pytest.raises(HostError) as caught:
            table.map(GUEST, refs, writable=writable)
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(HostError):
        table.map(GUEST + 1, [good], writable=False)
    table.map(GUEST, [readonly], writable=False).close()


def test_mapped_grants_are_counted_and_deferred(
    machine: MachineMemory, memory: GuestMemory, table: SimGrantTable
) -> None:
    ref = memory.grant(memory.allocate(1)[0], 0)
    mapping = table.map(GUEST, [ref], writable=True)
    assert (machine.mapped(), machine.mapped(GUEST), machine.mapped(9)) == (1, 1, 0)
    memory.end_access(ref)
    assert memory.deferred == [ref]
    mapping.close()
    mapping.close()
    assert machine.mapped() == 0
    with pytest.raises(HostError):
        table.map(GUEST, [ref], writable=False)


def test_a_dead_domains_mapping_stays_readable(
    machine: MachineMemory, memory: GuestMemory, table: SimGrantTable
) -> None:
    pages = memory.allocate(1)
    memory.map_own(pages).view()[:5] = b"alive"
    ref = memory.grant(pages[0], 0)
    mapping = table.map(GUEST, [ref], writable=False)
    machine.destroy(GUEST)
    assert ctypes.string_at(mapping.address, 5) == b"alive"
    assert machine.mapped(GUEST) == 1
    with pytest.raises(HostError):
        table.map(GUEST, [ref], writable=False)
    mapping.close()
    assert machine.mapped(GUEST) == 0


def test_freed_pages_read_as_zeros(memory: GuestMemory) -> None:
    pages = memory.allocate(2)
    memory.map_own(pages).view()[:] = b"x" * 2 * PAGE
    memory.free(pages)
    assert bytes(memory.map_own(pages).view()) == bytes(2 * PAGE)


def test_paged_out_memory_blocks_a_mapping(memory: GuestMemory, table: SimGrantTable) -> None:
    ref = memory.grant(memory.allocate(1)[0], 0)
    memory.page_out()
    mapped = threading.Event()

    def work() -> None:
        table.map(GUEST, [ref], writable=False).close()
        mapped.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert not mapped.wait(0.1)
    memory.page_in()
    assert mapped.wait(5)
    thread.join()


def test_a_slow_mapping(memory: GuestMemory, table: SimGrantTable) -> None:
    memory.map_seconds = 0.1
    started = time.monotonic()
    table.map(GUEST, [memory.grant(memory.allocate(1)[0], 0)], writable=False).close()
    assert time.monotonic() - started >= 0.1
