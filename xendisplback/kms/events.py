# SPDX-License-Identifier: GPL-2.0-or-later
"""DRM events as read(2) on the device delivers them: ``struct drm_event`` and its kin (drm.h)."""

from __future__ import annotations

import struct

from xendisplback.host import FlipEvent

FLIP_COMPLETE = 2
"""DRM_EVENT_FLIP_COMPLETE; typed anew so that parsing needs no libdrm. A test compares."""

READ_SIZE = 4096
"""Holds 128 flips. The kernel delivers whole events; what does not fit stays readable."""

_HEADER = struct.Struct("=II")  # type, length
_VBLANK = struct.Struct("=IIQIIII")  # header, user_data, tv_sec, tv_usec, sequence, crtc_id


def parse_events(data: bytes) -> list[FlipEvent]:
    """The flip events in ``data``, in order. Other types are skipped by their length."""
    events: list[FlipEvent] = []
    offset = 0
    while offset + _HEADER.size <= len(data):
        kind, length = _HEADER.unpack_from(data, offset)
        if kind == FLIP_COMPLETE and offset + _VBLANK.size <= len(data):
            _, _, _, seconds, micros, sequence, crtc_id = _VBLANK.unpack_from(data, offset)
            events.append(FlipEvent(crtc_id, sequence, seconds + micros / 1e6))
        offset += max(length, _HEADER.size)
    return events
