# SPDX-License-Identifier: GPL-2.0-or-later
"""The control ring and the event page, from the backend's side.

The memory is shared with the guest, which can write all of it at any time. So: our own indices live here and
are never read back; what the guest owns (req_prod, rsp_event, in_cons) is bounded before use; a slot is copied
once and only the copy is looked at. The page itself is given in (:class:`Page`), barriers are its business.

Offsets: struct xendispl_event_page and the ring macros of xen/io/ring.h; tests compare them with the C structs.
"""

from __future__ import annotations

from typing import Final, Protocol

from xendisplback.protocol.displif import SLOT_SIZE, encode_pg_flip_event
from xendisplback.protocol.errors import ProtocolViolation

U32: Final = 0xFFFFFFFF

REQ_PROD: Final = 0
REQ_EVENT: Final = 4
RSP_PROD: Final = 8
RSP_EVENT: Final = 12
SLOTS_AT: Final = 64
RING_SLOTS: Final = 32

IN_CONS: Final = 0
IN_PROD: Final = 4
EVENT_SLOTS: Final = 63


class Page(Protocol):
    """4096 bytes of shared memory. Offsets in bytes."""

    def load(self, offset: int) -> int:
        """A u32; what is read afterwards is at least as new (acquire)."""
        ...

    def store(self, offset: int, value: int) -> None:
        """A u32; everything written before is visible with it (release)."""
        ...

    def fence(self) -> None:
        """A full barrier: what was stored is visible before anything is loaded."""
        ...

    def read_slot(self, offset: int) -> bytes:
        """A copy of 64 bytes."""
        ...

    def write_slot(self, offset: int, data: bytes) -> None:
        """64 bytes."""
        ...


class RequestRing:
    """The backend's end of a control ring. Requests are answered in any order, each once."""

    def __init__(self, page: Page) -> None:
        """Take the ring over as the page has it: ready for the requests that were not answered yet."""
        self._page = page
        self._rsp_prod = self._published = self._req_cons = page.load(RSP_PROD)

    def take(self) -> list[bytes]:
        """Copies of the requests that came since the last call, at most 32.

        Raises ProtocolViolation when the guest is more than a ring ahead of our responses.
        """
        page, cons = self._page, self._req_cons
        req_prod = page.load(REQ_PROD)
        if (req_prod - self._rsp_prod) & U32 > RING_SLOTS or (
            (req_prod - cons) & U32 > (req_prod - self._rsp_prod) & U32
        ):
            raise ProtocolViolation(
                f"control ring: req_prod {req_prod} is not within {RING_SLOTS} requests"
                f" of rsp_prod {self._rsp_prod} (taken up to {cons})"
            )
        slots: list[bytes] = []
        while cons != req_prod:
            slots.append(page.read_slot(SLOTS_AT + (cons & (RING_SLOTS - 1)) * SLOT_SIZE))
            cons = (cons + 1) & U32
        self._req_cons = cons
        return slots

    def respond(self, response: bytes) -> None:
        """Write ``response`` into the next slot; :meth:`push` shows it to the guest."""
        slot = SLOTS_AT + (self._rsp_prod & (RING_SLOTS - 1)) * SLOT_SIZE
        self._page.write_slot(slot, response)
        self._rsp_prod = (self._rsp_prod + 1) & U32

    def push(self) -> bool:
        """Show the responses to the guest; True if it asked to be notified of one of them."""
        page, old, new = self._page, self._published, self._rsp_prod
        page.store(RSP_PROD, new)
        page.fence()
        self._published = new
        return (new - page.load(RSP_EVENT)) & U32 < (new - old) & U32

    def idle(self) -> bool:
        """Ask to be notified of the next request; False if one came meanwhile (then :meth:`take` again)."""
        page = self._page
        page.store(REQ_EVENT, (self._req_cons + 1) & U32)
        page.fence()
        return page.load(REQ_PROD) == self._req_cons


class EventRing:
    """The backend's end of an event page.

    The frontend counts events from 0 in a u16 and skips those whose id differs, so an id is used only by an event
    that is really delivered.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._prod = page.load(IN_PROD)

    def send(self, fb_cookie: int) -> bool:
        """Deliver a PG_FLIP event; False if the guest has not read the last 63: nothing happened then.

        Raises ProtocolViolation when in_cons is nowhere behind in_prod.
        """
        page, prod = self._page, self._prod
        waiting = (prod - page.load(IN_CONS)) & U32
        if waiting > EVENT_SLOTS:
            raise ProtocolViolation(
                f"event page: in_cons is {waiting} behind in_prod {prod}, at most {EVENT_SLOTS}"
            )
        if waiting == EVENT_SLOTS:
            return False
        event = encode_pg_flip_event(prod & 0xFFFF, fb_cookie)
        page.write_slot(SLOTS_AT + (prod % EVENT_SLOTS) * SLOT_SIZE, event)
        self._prod = (prod + 1) & U32
        page.store(IN_PROD, self._prod)
        return True
