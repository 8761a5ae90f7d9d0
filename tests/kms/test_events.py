# SPDX-License-Identifier: GPL-2.0-or-later
"""Parsing of what read(2) delivers from a DRM device."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from xendisplback._ext import load_drm
from xendisplback.host import FlipEvent
from xendisplback.kms.events import FLIP_COMPLETE, parse_events


def event(kind: int, crtc_id: int, sequence: int = 7) -> bytes:
    return struct.pack("=IIQIIII", kind, 32, 0, 12, 500_000, sequence, crtc_id)


def test_type_is_the_kernels() -> None:
    assert load_drm().lib.DRM_EVENT_FLIP_COMPLETE == FLIP_COMPLETE


def test_flips_come_in_order() -> None:
    data = event(FLIP_COMPLETE, 40) + event(FLIP_COMPLETE, 50, sequence=8)
    assert parse_events(data) == [FlipEvent(40, 7, 12.5), FlipEvent(50, 8, 12.5)]


def test_other_events_are_skipped_by_their_length() -> None:
    unknown = struct.pack("=II8x", 0x80000001, 16)
    vblank = event(1, 40)
    assert parse_events(unknown + vblank + event(FLIP_COMPLETE, 41)) == [FlipEvent(41, 7, 12.5)]


@given(st.binary(max_size=200))
def test_any_bytes_end(data: bytes) -> None:
    assert len(parse_events(data)) <= len(data) // 8
