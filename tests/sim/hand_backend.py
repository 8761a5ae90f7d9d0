# SPDX-License-Identifier: GPL-2.0-or-later
"""A backend that does only what a test tells it: to see how the simulated guest behaves, not the daemon."""

from __future__ import annotations

import trio

from tests.rings import EventRing, RequestRing
from xendisplback.host import GrantMapping
from xendisplback.protocol.displif import encode_response, request_header
from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.domain import Domain
from xendisplback.sim.host import SimHost


class HandBackend:
    """Of the domain's first device; only connector 0."""

    def __init__(self, host: SimHost, domain: Domain) -> None:
        self._store = host.toolstack.store
        self._grants = host.grant_table()
        self._channels = host.event_channels(domain.domid)
        self._domid = domain.domid
        self._frontend = domain.guest.path
        self._backend = domain.guest.backend_path
        self._mappings: list[GrantMapping] = []

    def publish(self, state: XenbusState) -> None:
        self._store.write(f"{self._backend}/state", str(int(state)))

    def _number(self, node: str) -> int:
        return int(self._store.get(f"{self._frontend}/0/{node}") or "0")

    def _map(self, node: str) -> int:
        mapping = self._grants.map(self._domid, [self._number(node)], writable=True)
        self._mappings.append(mapping)
        return mapping.address

    def connect(self) -> None:
        """Map the rings, bind the channels, publish Connected."""
        self.requests = RequestRing(self._map("req-ring-ref"))
        self.events = EventRing(self._map("evt-ring-ref"))
        self._request_port = self._channels.bind(self._number("req-event-channel"))
        self._event_port = self._channels.bind(self._number("evt-event-channel"))
        self.publish(XenbusState.Connected)

    def release(self) -> None:
        for mapping in self._mappings:
            mapping.close()
        self._channels.close()

    async def next_slot(self) -> bytes:
        """The next request, and it must be the only one."""
        while True:
            slots = self.requests.take()
            if slots:
                (slot,) = slots
                return slot
            if self.requests.idle():
                await trio.lowlevel.wait_readable(self._channels.fd)
                port = self._channels.pending()
                if port is not None:
                    self._channels.unmask(port)

    def answer(self, slot: bytes, status: int = 0, *, id_off_by: int = 0) -> None:
        request_id, operation = request_header(slot)
        self.requests.respond(encode_response(request_id + id_off_by, operation, status))
        if self.requests.push():
            self._channels.notify(self._request_port)

    def send_event(self, fb_cookie: int = 1) -> None:
        assert self.events.send(fb_cookie)
        self._channels.notify(self._event_port)
