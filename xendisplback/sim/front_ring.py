# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's end of a control ring and of an event page: granted pages, ports, and all that a hostile guest
may want to write there.
"""

from __future__ import annotations

from xendisplback.protocol.displif import SLOT_SIZE
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
from xendisplback.sim.event_channels import EventChannelHandle
from xendisplback.sim.memory import GuestMemory
from xendisplback.sim.shared_page import SharedPage


class GrantedPage:
    """A page granted to ``backend_domid``, and a port for it to bind to."""

    def __init__(
        self, memory: GuestMemory, channels: EventChannelHandle, backend_domid: int
    ) -> None:
        self._memory = memory
        self._channels = channels
        self._pages = memory.allocate(1)
        self._mapping = memory.map_own(self._pages)
        self.page = self._mapping.view()
        """All 4096 bytes, writable."""
        self.shared = SharedPage(self._mapping.address)
        self.ref = memory.grant(self._pages[0], backend_domid)
        self.port = channels.allocate(backend_domid)

    def kick(self) -> None:
        """Notify the backend, asked for or not."""
        self._channels.notify(self.port)

    def close(self) -> None:
        self._channels.unbind(self.port)
        self._memory.end_access(self.ref)
        self.page.release()
        self._mapping.close()
        self._memory.free(self._pages)


class FrontRing(GrantedPage):
    """Requests out, responses in."""

    def __init__(
        self, memory: GuestMemory, channels: EventChannelHandle, backend_domid: int
    ) -> None:
        super().__init__(memory, channels, backend_domid)
        self.req_prod = 0
        """Ours: what :meth:`push` publishes."""
        self.rsp_cons = 0
        self.shared.store(REQ_EVENT, 1)
        self.shared.store(RSP_EVENT, 1)

    def put(self, slot: bytes) -> None:
        """Write 64 bytes into the next slot; :meth:`push` shows them to the backend."""
        where = SLOTS_AT + (self.req_prod % RING_SLOTS) * SLOT_SIZE
        self.shared.write_slot(where, slot)
        self.req_prod = (self.req_prod + 1) & U32

    def push(self) -> bool:
        """Publish what was put and notify the backend if it asked for it; whether it did."""
        old = self.shared.load(REQ_PROD)
        self.publish(self.req_prod)
        asked = (self.req_prod - self.shared.load(REQ_EVENT)) & U32 < (self.req_prod - old) & U32
        if asked:
            self.kick()
        return asked

    def publish(self, req_prod: int) -> None:
        """Write any number as the producer index."""
        self.shared.store(REQ_PROD, req_prod & U32)
        self.shared.fence()

    def take(self) -> list[bytes]:
        """The responses that came since the last call; asks to be notified of the next."""
        slots: list[bytes] = []
        while True:
            rsp_prod = self.shared.load(RSP_PROD)
            while self.rsp_cons != rsp_prod:
                where = SLOTS_AT + (self.rsp_cons % RING_SLOTS) * SLOT_SIZE
                slots.append(self.shared.read_slot(where))
                self.rsp_cons = (self.rsp_cons + 1) & U32
            self.shared.store(RSP_EVENT, (self.rsp_cons + 1) & U32)
            self.shared.fence()
            if self.shared.load(RSP_PROD) == rsp_prod:
                return slots


class FrontEvents(GrantedPage):
    """Events in."""

    @property
    def in_cons(self) -> int:
        return self.shared.load(IN_CONS)

    @in_cons.setter
    def in_cons(self, value: int) -> None:
        self.shared.store(IN_CONS, value & U32)

    @property
    def in_prod(self) -> int:
        return self.shared.load(IN_PROD)

    @in_prod.setter
    def in_prod(self, value: int) -> None:
        self.shared.store(IN_PROD, value & U32)

    def take(self) -> list[bytes]:
        """The events that wait, as they are."""
        slots: list[bytes] = []
        cons, prod = self.in_cons, self.in_prod
        while cons != prod:
            slots.append(self.shared.read_slot(SLOTS_AT + (cons % EVENT_SLOTS) * SLOT_SIZE))
            cons = (cons + 1) & U32
        self.in_cons = cons
        return slots
