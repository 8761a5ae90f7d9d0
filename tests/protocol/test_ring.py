# SPDX-License-Identifier: GPL-2.0-or-later
"""Both rings against a frontend that follows the rules, and one that writes whatever it likes."""

from __future__ import annotations

import ctypes
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rings import EventRing, RequestRing, Violation
from xendisplback.protocol.displif import (
    EVENT_PG_FLIP,
    PgFlip,
    encode_request,
    encode_response,
    parse_event,
    parse_response,
)
from xendisplback.protocol.ring import (
    EVENT_SLOTS,
    IN_CONS,
    IN_PROD,
    REQ_EVENT,
    REQ_PROD,
    RING_SLOTS,
    RSP_EVENT,
    RSP_PROD,
    SLOTS_AT,
    U32,
)

u32 = st.integers(0, U32)
near_wrap = st.one_of(st.just(0), st.integers(U32 - 70, U32), u32)


class FakePage:
    """A ring page, between two that must stay as they are."""

    def __init__(self, **indices: int) -> None:
        self._memory = (ctypes.c_char * (3 * 4096))()
        self.address = ctypes.addressof(self._memory) + 4096
        self.data = memoryview(self._memory).cast("B")[4096:8192]
        for name, value in indices.items():
            self.poke(
                {"req": REQ_PROD, "rsp": RSP_PROD, "cons": IN_CONS, "prod": IN_PROD}[name], value
            )

    def poke(self, offset: int, value: int) -> None:
        struct.pack_into("<I", self.data, offset, value & U32)

    def peek(self, offset: int) -> int:
        (value,) = struct.unpack_from("<I", self.data, offset)
        return int(value)

    def check_around(self) -> None:
        """Nothing was written outside of it."""
        assert not any(self._memory.raw[:4096] + self._memory.raw[8192:])


def put(page: FakePage, *requests: bytes) -> None:
    """Publish requests as a frontend does."""
    prod = page.peek(REQ_PROD)
    for number, request in enumerate(requests, prod):
        at = SLOTS_AT + number % RING_SLOTS * 64
        page.data[at : at + 64] = request
    page.poke(REQ_PROD, prod + len(requests))


@given(near_wrap, st.lists(st.integers(1, RING_SLOTS), min_size=1, max_size=12))
def test_every_request_is_taken_once_in_order_and_answered_in_its_slot(
    start: int, batches: list[int]
) -> None:
    page = FakePage(req=start, rsp=start)
    ring = RequestRing(page.address)
    sent = 0
    for size in batches:
        requests = [encode_request(PgFlip((sent + i) & 0xFFFF, 1)) for i in range(size)]
        put(page, *requests)
        assert ring.take() == requests
        assert ring.take() == []
        for i in range(size):
            ring.respond(encode_response((sent + i) & 0xFFFF, 0x15))
        old = page.peek(RSP_PROD)
        ring.push()
        for i in range(size):
            at = SLOTS_AT + (old + i) % RING_SLOTS * 64
            answer = parse_response(bytes(page.data[at : at + 64]))
            assert answer.request_id == (sent + i) & 0xFFFF
        sent += size
    assert page.peek(RSP_PROD) == (start + sent) & U32
    page.check_around()


@given(near_wrap, u32)
def test_any_producer_index_is_bounded(start: int, req_prod: int) -> None:
    page = FakePage(req=req_prod, rsp=start)
    ring = RequestRing(page.address)
    if (req_prod - start) & U32 <= RING_SLOTS:
        assert len(ring.take()) == (req_prod - start) & U32
    else:
        with pytest.raises(Violation):
            ring.take()


def test_a_producer_that_goes_back_is_refused() -> None:
    page = FakePage()
    ring = RequestRing(page.address)
    put(page, *[bytes(64)] * 10)
    ring.take()
    page.poke(REQ_PROD, 5)
    with pytest.raises(Violation):
        ring.take()


def test_what_the_guest_writes_into_our_indices_is_never_read_back() -> None:
    page = FakePage()
    ring = RequestRing(page.address)
    put(page, encode_request(PgFlip(1, 1)))
    ring.take()
    page.poke(RSP_PROD, 12345)
    ring.respond(encode_response(1, 0x15))
    ring.push()
    assert page.peek(RSP_PROD) == 1


@given(near_wrap, st.integers(1, RING_SLOTS), u32)
def test_the_guest_is_notified_exactly_when_it_asked_for_one_of_the_new_responses(
    start: int, count: int, rsp_event: int
) -> None:
    page = FakePage(req=start, rsp=start)
    ring = RequestRing(page.address)
    put(page, *[encode_request(PgFlip(1, 1))] * count)
    ring.take()
    page.poke(RSP_EVENT, rsp_event)
    for _ in range(count):
        ring.respond(encode_response(1, 0x15))
    asked = {(start + i) & U32 for i in range(1, count + 1)}
    assert ring.push() is (rsp_event in asked)


def test_idle_asks_for_the_next_request_and_then_looks_again() -> None:
    page = FakePage()
    ring = RequestRing(page.address)
    assert ring.idle()
    assert page.peek(REQ_EVENT) == 1
    put(page, bytes(64))
    assert not ring.idle()


@given(near_wrap, st.integers(1, 300))
@settings(max_examples=50)
def test_event_ids_follow_in_prod_and_a_frontend_that_counts_sees_every_one(
    start: int, count: int
) -> None:
    page = FakePage(cons=start, prod=start)
    ring = EventRing(page.address)
    for number in range(count):
        assert ring.send(number + 1)
        prod = page.peek(IN_PROD)
        assert prod == (start + number + 1) & U32
        at = SLOTS_AT + ((prod - 1) & U32) % EVENT_SLOTS * 64
        event = parse_event(bytes(page.data[at : at + 64]))
        assert event.event_id == (prod - 1) & 0xFFFF
        assert event.fb_cookie == number + 1
        assert page.data[at + 2] == EVENT_PG_FLIP
        page.poke(IN_CONS, prod)


def test_on_overflow_an_event_is_dropped_without_using_up_an_id() -> None:
    page = FakePage()
    ring = EventRing(page.address)
    assert all(ring.send(1) for _ in range(EVENT_SLOTS))
    before = bytes(page.data)
    assert not ring.send(2)
    assert bytes(page.data) == before
    page.poke(IN_CONS, 1)
    assert ring.send(3)
    event = parse_event(bytes(page.data[SLOTS_AT : SLOTS_AT + 64]))
    assert (event.event_id, event.fb_cookie) == (EVENT_SLOTS, 3)


@given(near_wrap, u32)
def test_any_consumer_index_is_bounded(start: int, in_cons: int) -> None:
    page = FakePage(cons=in_cons, prod=start)
    ring = EventRing(page.address)
    waiting = (start - in_cons) & U32
    if waiting > EVENT_SLOTS:
        with pytest.raises(Violation):
            ring.send(1)
    else:
        assert ring.send(1) is (waiting < EVENT_SLOTS)


def test_what_the_guest_writes_into_in_prod_is_never_read_back() -> None:
    page = FakePage()
    ring = EventRing(page.address)
    ring.send(1)
    page.poke(IN_PROD, 999)
    ring.send(2)
    assert page.peek(IN_PROD) == 2
