# SPDX-License-Identifier: GPL-2.0-or-later
"""Flip events as a test reads them from a card: the daemon reads them in C."""

from __future__ import annotations

import os
import select
import struct
import time
from dataclasses import dataclass

FLIP_COMPLETE = 2
"""DRM_EVENT_FLIP_COMPLETE"""
_VBLANK = struct.Struct("=IIQIIII")  # type, length, user_data, tv_sec, tv_usec, sequence, crtc_id


@dataclass(frozen=True)
class FlipEvent:
    crtc_id: int
    sequence: int
    seconds: float
    """CLOCK_MONOTONIC of the vblank."""


def read_events(fd: int, count: int = 1, seconds: float = 3.0) -> list[FlipEvent]:
    """Wait for ``count`` flip events, at most ``seconds``. EOFError: the device is gone."""
    events: list[FlipEvent] = []
    deadline = time.monotonic() + seconds
    while len(events) < count:
        if not select.select([fd], [], [], max(deadline - time.monotonic(), 0))[0]:
            break
        data = os.read(fd, 4096)
        if not data:
            raise EOFError
        for kind, _, _, whole, micros, sequence, crtc_id in _VBLANK.iter_unpack(data):
            assert kind == FLIP_COMPLETE
            events.append(FlipEvent(crtc_id, sequence, whole + micros / 1e6))
    return events
