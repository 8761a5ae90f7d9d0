# SPDX-License-Identifier: GPL-2.0-or-later
"""Requests, responses and events: any bytes are parsed or refused, and what is encoded is parsed back."""

from __future__ import annotations

import struct
from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.protocol.displif import (
    DbufCreate,
    DbufDestroy,
    FbAttach,
    FbDetach,
    GetEdid,
    Operation,
    PgFlip,
    PgFlipEvent,
    Request,
    SetConfig,
    encode_pg_flip_event,
    encode_request,
    encode_response,
    parse_event,
    parse_request,
    parse_response,
    request_header,
)
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.status import Status, response_status

u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, (1 << 64) - 1)
cookie = st.integers(1, (1 << 64) - 1)

valid_requests: st.SearchStrategy[Request] = st.one_of(
    st.builds(DbufCreate, u16, cookie, u32, u32, u32, u32, st.integers(0, 1), u32, u32),
    st.builds(DbufDestroy, u16, cookie),
    st.builds(FbAttach, u16, cookie, cookie, u32, u32, u32),
    st.builds(FbDetach, u16, cookie),
    st.builds(SetConfig, u16, cookie, u32, u32, u32, u32, u32),
    st.builds(PgFlip, u16, cookie),
    st.builds(GetEdid, u16, st.integers(32768, 0xFFFFFFFF), u32),
)


@given(valid_requests)
def test_what_a_frontend_encodes_is_parsed_back(request: Request) -> None:
    slot = encode_request(request)
    assert len(slot) == 64
    assert request_header(slot) == (request.request_id, request.OPERATION)
    assert parse_request(slot, 2) == request


def _slot(head: bytes, operation: int, rest: bytes) -> bytes:
    return head + bytes([operation]) + rest


slots = st.builds(
    _slot,
    st.binary(min_size=2, max_size=2),
    st.one_of(st.sampled_from([int(operation) for operation in Operation]), st.integers(0, 255)),
    st.binary(min_size=61, max_size=61),
)
"""Any 64 bytes, most with an operation that exists."""


@given(slots, st.sampled_from((1, 2)))
def test_any_64_bytes_are_a_request_or_are_refused(slot: bytes, version: int) -> None:
    try:
        request = parse_request(slot, version)
    except RequestError as error:
        assert error.status in (Status.EINVAL, Status.EOPNOTSUPP)
    else:
        assert (request.request_id, request.OPERATION) == request_header(slot)
        for value in astuple(request):
            assert 0 <= value < 1 << 64


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (DbufCreate(1, 0, 1, 1, 32, 4, 0, 1), "dbuf_cookie is 0"),
        (DbufDestroy(1, 0), "dbuf_cookie is 0"),
        (FbAttach(1, 0, 1, 1, 1, 1), "dbuf_cookie is 0"),
        (FbAttach(1, 1, 0, 1, 1, 1), "fb_cookie is 0"),
        (FbDetach(1, 0), "fb_cookie is 0"),
        (SetConfig(1, 0, 0, 0, 1, 1, 32), "fb_cookie is 0"),
        (PgFlip(1, 0), "fb_cookie is 0"),
        (DbufCreate(1, 1, 1, 1, 32, 4, 2, 1), "unknown flags 0x2"),
        (GetEdid(1, 32767, 1), "32767, at least 32768"),
    ],
)
def test_refusals_name_the_value(request_: Request, named: str) -> None:
    with pytest.raises(RequestError, match=named) as caught:
        parse_request(encode_request(request_), 2)
    assert caught.value.status is Status.EINVAL


def test_set_config_of_all_zeros_disables() -> None:
    request = parse_request(encode_request(SetConfig(7, 0, 0, 0, 0, 0, 0)), 1)
    assert isinstance(request, SetConfig)
    assert request.disables


def test_get_edid_needs_version_2() -> None:
    slot = encode_request(GetEdid(1, 32768, 8))
    assert parse_request(slot, 2) == GetEdid(1, 32768, 8)
    with pytest.raises(RequestError, match="unknown in version 1") as caught:
        parse_request(slot, 1)
    assert caught.value.status is Status.EOPNOTSUPP


@given(u16, st.integers(0, 255), st.integers(-(1 << 31), (1 << 31) - 1), u32)
def test_responses_are_parsed_back(
    request_id: int, operation: int, status: int, edid_sz: int
) -> None:
    slot = encode_response(request_id, operation, status, edid_sz)
    assert len(slot) == 64
    assert astuple(parse_response(slot)) == (request_id, operation, status, edid_sz)


@given(u16, u64)
def test_events_are_parsed_back(event_id: int, fb_cookie: int) -> None:
    slot = encode_pg_flip_event(event_id, fb_cookie)
    assert len(slot) == 64
    assert parse_event(slot) == PgFlipEvent(event_id, fb_cookie)


def test_an_event_of_another_type_is_no_flip() -> None:
    with pytest.raises(ValueError, match="0x1"):
        parse_event(struct.pack("<HB61x", 0, 1))


@given(st.integers(0, 200))
def test_the_status_is_the_negative_errno_or_eio(errno: int) -> None:
    known = errno in {int(status) for status in Status}
    assert response_status(errno) == (0 if errno == 0 else -errno if known else -5)
