# SPDX-License-Identifier: GPL-2.0-or-later
"""Event channels behave as /dev/xen/evtchn's: masked once raised, coalesced, rebindable."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from xendisplback.errors import HostError
from xendisplback.sim.event_channels import EventChannelHandle, EventChannelTable

GUEST = 3


@pytest.fixture
def table() -> Iterator[EventChannelTable]:
    table = EventChannelTable()
    yield table
    table.close()


@pytest.fixture
def guest(table: EventChannelTable) -> EventChannelHandle:
    return table.open(GUEST)


@pytest.fixture
def backend(table: EventChannelTable) -> EventChannelHandle:
    return table.open(0, restricted_to=GUEST)


def readable(handle: EventChannelHandle) -> bool:
    return bool(select.select([handle.fd], [], [], 0)[0])


def test_a_bind_raises_a_first_event(
    guest: EventChannelHandle, backend: EventChannelHandle
) -> None:
    port = backend.bind(guest.allocate(0))
    assert readable(backend)
    assert backend.pending() == port
    assert backend.pending() is None
    assert not readable(backend)


def test_a_masked_port_tells_once_after_the_unmask(
    guest: EventChannelHandle, backend: EventChannelHandle
) -> None:
    remote = guest.allocate(0)
    port = backend.bind(remote)
    backend.pending()
    for _ in range(3):
        guest.notify(remote)
    assert not readable(backend)
    backend.unmask(port)
    assert backend.pending() == port
    backend.unmask(port)
    assert not readable(backend)
    guest.notify(remote)
    assert backend.pending() == port


def test_each_read_takes_one_port(guest: EventChannelHandle, backend: EventChannelHandle) -> None:
    remote = [guest.allocate(0) for _ in range(3)]
    ports = [backend.bind(number) for number in remote]
    assert [backend.pending() for _ in range(4)] == [*ports, None]
    backend.notify(ports[0])
    assert guest.pending() == remote[0]


def test_what_may_not_be_bound(
    table: EventChannelTable, guest: EventChannelHandle, backend: EventChannelHandle
) -> None:
    bound = guest.allocate(0)
    backend.bind(bound)
    for_another = guest.allocate(9)
    elsewhere = table.open(GUEST + 1).allocate(0)
    # The third number is one that the restricted handle's domain does not have.
    for remote in (bound, for_another, elsewhere + 100):
        with pytest.raises(HostError):
            backend.bind(remote)


def test_a_closed_end_can_be_bound_again(
    table: EventChannelTable, guest: EventChannelHandle, backend: EventChannelHandle
) -> None:
    remote = guest.allocate(0)
    port = backend.bind(remote)
    assert table.open_for(GUEST) == 1
    backend.close()
    backend.close()
    assert table.open_for(GUEST) == 0
    guest.notify(remote)
    with pytest.raises(HostError):
        backend.notify(port)
    second = table.open(0, restricted_to=GUEST)
    assert second.bind(remote) != port
