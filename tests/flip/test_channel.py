# SPDX-License-Identifier: GPL-2.0-or-later
"""From the doorbell to the flip event, and what is handed to Python instead."""

from __future__ import annotations

import errno
import os
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flip.kit import Connector
from xendisplback.protocol.displif import DbufDestroy, PgFlip, PgFlipEvent, Response, encode_request
from xendisplback.protocol.ring import IN_CONS, REQ_PROD, RING_SLOTS
from xendisplback.sim.event_channels import EventChannelHandle

ANSWERED = Response(1, 0x15, 0, 0)


def test_a_flip_is_answered_committed_and_told_when_it_is_shown(connector: Connector) -> None:
    connector.zero_copy(7)
    seen: list[int] = []
    connector.instead = lambda: seen.append(len(connector.responses()))
    connector.flip(7)
    connector.committing(1)
    assert connector.commits == [7]
    assert connector.responses() == [ANSWERED]
    assert seen == [1], "displif has the response before the event, which may come with the commit"
    assert connector.flip_events() == []
    connector.flip_event()
    connector.shown(1)
    assert connector.flip_events() == [PgFlipEvent(0, 7)]
    assert connector.handed(0)[0] == connector.c.lib.XDB_NOTHING


def test_copies_go_to_both_buffers_in_turn(connector: Connector) -> None:
    connector.copying(7)
    for number in range(1, 5):
        connector.pictures.data.raw = os.urandom(len(connector.pictures.data))
        connector.flip(7)
        connector.committing(number)
        side = connector.commits[-1] - 100
        assert connector.buffers[side].data.raw == connector.pictures.data.raw
        connector.flip_event()
        connector.shown(number)
    assert connector.commits == [100, 101, 100, 101]
    assert (connector.flips.flips, connector.flips.copies) == (4, 4)


def test_a_thousand_flips_are_each_shown_once(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.copying(8)
    connector.instead = connector.flip_event
    for number in range(1, 1001):
        connector.flip(random.choice((7, 8)), number & 0xFFFF)
        connector.shown_since(number)
    assert len(connector.commits) == connector.flips.flips == 1000


def test_what_is_no_known_flip_is_handed_over_and_nothing_after_it_is_taken(
    connector: Connector,
) -> None:
    lib = connector.c.lib
    connector.zero_copy(7)
    destroy = encode_request(DbufDestroy(3, 9))
    connector.send(destroy, encode_request(PgFlip(4, 99)), encode_request(PgFlip(5, 7)))
    assert connector.handed()[:2] == (lib.XDB_REQUEST, destroy)
    connector.nothing_handed()
    assert connector.responses() == []
    connector.resume()
    why, slot, _ = connector.handed()
    assert (why, slot) == (lib.XDB_REQUEST, encode_request(PgFlip(4, 99)))
    connector.resume()
    connector.committing(1)
    assert [response.request_id for response in connector.responses()] == [5]


def test_a_second_flip_before_the_first_is_shown_is_handed_over(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.flip(7)
    connector.committing(1)
    connector.flip(7, 2)
    assert connector.handed()[0] == connector.c.lib.XDB_BUSY
    assert len(connector.commits) == 1
    connector.resume()
    connector.flip_event()
    connector.shown(1)


def test_a_refused_commit_is_handed_over_and_has_no_event_yet(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.refuse = errno.EINVAL
    connector.flip(7)
    why, slot, number = connector.handed()
    assert (why, number) == (connector.c.lib.XDB_REFUSED, errno.EINVAL)
    assert slot == encode_request(PgFlip(1, 7))
    assert connector.responses() == [ANSWERED]
    assert connector.flip_events() == []
    connector.refuse = 0
    connector.resume()
    connector.flip(7, 2)
    connector.committing(2)
    connector.flip_event()
    connector.shown(1)


def test_flips_while_paused_are_handed_over(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.still()
    connector.flip(7)
    assert connector.handed()[0] == connector.c.lib.XDB_REQUEST
    connector.flips.resume()
    connector.resume()
    connector.nothing_handed()
    assert connector.commits == [], "Python has that request"


def test_a_frontend_too_far_ahead_is_a_violation(connector: Connector) -> None:
    connector.requests.store(REQ_PROD, RING_SLOTS + 1)
    connector.guest.notify(connector.ports[0])
    assert connector.handed()[0] == connector.c.lib.XDB_VIOLATION


def test_a_doorbell_that_is_rung_in_vain_is_listened_to_less_often(
    connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = 0
    unmask = EventChannelHandle.unmask

    def counted(handle: EventChannelHandle, port: int) -> None:
        nonlocal heard
        heard += 1
        unmask(handle, port)

    monkeypatch.setattr(EventChannelHandle, "unmask", counted)
    connector.zero_copy(7)
    began = time.monotonic()
    while time.monotonic() < began + 0.5:
        connector.guest.notify(connector.ports[0])
    # 64 at once, then one in 2 ms.
    assert 64 < heard <= 64 + (time.monotonic() - began) / 0.002 + 2
    # The next request is served all the same.
    connector.flip(7)
    connector.committing(1)
    connector.flip_event()
    connector.shown(1)


def test_an_event_page_that_is_not_read_drops_events_and_says_so(connector: Connector) -> None:
    lib = connector.c.lib
    for _ in range(63):
        assert lib.xdb_channel_send_event(connector.handle, 7) == 1
    assert lib.xdb_channel_send_event(connector.handle, 7) == 0
    assert lib.xdb_channel_event_faults(connector.handle) == 1
    assert lib.xdb_channel_event_faults(connector.handle) == 0
    connector.events.store(IN_CONS, 1000)
    assert lib.xdb_channel_send_event(connector.handle, 7) == -errno.EPROTO
    assert lib.xdb_channel_event_faults(connector.handle) == -errno.EPROTO
    assert lib.xdb_channel_events_sent(connector.handle) == 63


def test_a_guest_that_rings_without_a_request_is_heard_again(connector: Connector) -> None:
    connector.zero_copy(7)
    for port in (*connector.ports, *connector.ports):
        connector.guest.notify(port)
    connector.nothing_handed()
    connector.flip(7)
    connector.committing(1)


def test_stopping_needs_no_doorbell_and_no_resume() -> None:
    for handed in (False, True):
        connector = Connector(0)
        connector.start()
        if handed:
            connector.flip(99)
            connector.handed()
        connector.close()


@given(st.lists(st.binary(min_size=64, max_size=64), max_size=40))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_slots_are_flipped_or_handed_over_in_order(slots: list[bytes]) -> None:
    connector = Connector(0)
    connector.instead = connector.flip_event
    connector.zero_copy(0x0101010101010101)
    connector.start()
    flip = encode_request(PgFlip(0x0101, 0x0101010101010101))
    mixed = [slot if number % 3 else flip for number, slot in enumerate(slots)]
    lib = connector.c.lib
    for slot in mixed:
        before = len(connector.commits)
        connector.send(slot)
        if slot[2:3] + slot[8:16] == flip[2:3] + flip[8:16]:
            connector.committing(before + 1)
            connector.shown_since(before + 1)
        else:
            assert connector.handed()[:2] == (lib.XDB_REQUEST, slot)
            lib.xdb_channel_respond(connector.handle, bytes(64))
            connector.resume()
    connector.close()
