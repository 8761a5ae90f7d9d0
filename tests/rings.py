# SPDX-License-Identifier: GPL-2.0-or-later
"""The backend's end of both rings, as C has it (cffi_build/flip_ring.c), on any memory."""

from __future__ import annotations

from xendisplback._ext import load_flip
from xendisplback.protocol.displif import SLOT_SIZE
from xendisplback.protocol.ring import RING_SLOTS


class Violation(Exception):
    """-EPROTO"""


class RequestRing:
    def __init__(self, address: int) -> None:
        self._c = c = load_flip()
        self.struct = c.ffi.new("struct xdb_request_ring *")
        c.lib.xdb_request_ring_init(self.struct, address)
        self._slot = c.ffi.new("char[]", SLOT_SIZE)

    def take(self) -> list[bytes]:
        """All that wait. Raises Violation."""
        slots: list[bytes] = []
        while taken := self._c.lib.xdb_request_ring_take(self.struct, self._slot):
            if taken < 0:
                raise Violation
            slots.append(self._c.ffi.buffer(self._slot)[:])
            assert len(slots) <= RING_SLOTS
        return slots

    def respond(self, response: bytes) -> None:
        self._c.lib.xdb_request_ring_respond(self.struct, response)

    def push(self) -> bool:
        return bool(self._c.lib.xdb_request_ring_push(self.struct))

    def idle(self) -> bool:
        return bool(self._c.lib.xdb_request_ring_idle(self.struct))


class EventRing:
    def __init__(self, address: int) -> None:
        self._c = c = load_flip()
        self.struct = c.ffi.new("struct xdb_event_ring *")
        c.lib.xdb_event_ring_init(self.struct, address)

    def send(self, fb_cookie: int) -> bool:
        """Raises Violation."""
        sent = self._c.lib.xdb_event_ring_send(self.struct, fb_cookie)
        if sent < 0:
            raise Violation
        return bool(sent)
