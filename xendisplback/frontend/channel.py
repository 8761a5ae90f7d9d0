# SPDX-License-Identifier: GPL-2.0-or-later
"""One connector's rings: from the guest's doorbell to the flip, and from the flip event to the guest.

This is the hot path. A PG_FLIP is parsed, handed to the output and answered here, in the task that reads the
event channels, without waiting for anything. Every other request is handed to a task of its own; until it is
answered the channel takes no further request and its port stays masked, so that requests of one channel are
answered in order and a guest that floods the ring waits for us, not we for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from xendisplback.frontend.buffers import BufferTable
from xendisplback.frontend.device import GuestLog
from xendisplback.frontend.nodes import ConnectorNodes
from xendisplback.host import EventChannels, GrantMapping
from xendisplback.protocol.displif import (
    PgFlip,
    Request,
    encode_response,
    parse_request,
    request_header,
)
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.ring import EventRing, RequestRing
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.frame import Crop
from xendisplback.scanout.output import Output
from xendisplback.xen.shared_page import SharedPage


class Drained(Enum):
    """How far a channel got with what its guest sent."""

    EMPTY = auto()
    """All answered: unmask the port."""
    MORE = auto()
    """A ring full was answered and more came: let the others run, then drain again."""
    SLOW = auto()
    """A slow request runs; it drains the channel again when it is answered."""


@dataclass(frozen=True, slots=True)
class Port:
    """Our end of one ring: the mapped page and the local port."""

    mapping: GrantMapping
    port: int


class Channel:
    """``slow`` starts the task for a request that may wait; ``fail`` ends the connection."""

    def __init__(
        self,
        nodes: ConnectorNodes,
        version: int,
        rings: tuple[Port, Port],
        events: EventChannels,
        buffers: BufferTable,
        screen: DarkScreen,
        log: GuestLog,
        slow: Callable[[Channel, Request], None],
        fail: Callable[[Exception], None],
    ) -> None:
        self.nodes = nodes
        self.version = version
        self.log = log
        self.screen: Output | DarkScreen = screen
        """The output from the first SET_CONFIG on; before, Linux flips too (DPMS) and waits for events."""
        self.crop: Crop | None = None
        """What the last SET_CONFIG asked to show."""
        self.flips = 0
        """Flip events of this connection."""
        self.request_port, self.event_port = rings
        self._requests = RequestRing(SharedPage(self.request_port.mapping.address))
        self._event_ring = EventRing(SharedPage(self.event_port.mapping.address))
        self._events = events
        self._buffers = buffers
        self._slow = slow
        self._fail = fail
        self._slots: deque[bytes] = deque()
        self._flip_cookie = 0
        self._how = ""

    def drain(self) -> Drained:
        """Handle what the guest sent. Raises ProtocolViolation."""
        self._slots.extend(self._requests.take())
        while self._slots:
            if not self._handle(self._slots.popleft()):
                return Drained.SLOW
        return Drained.EMPTY if self._requests.idle() else Drained.MORE

    def _handle(self, slot: bytes) -> bool:
        """Answer the request in ``slot``, or hand it over: then False."""
        try:
            request = parse_request(slot, self.version)
            if not isinstance(request, PgFlip) or not self._flip(request):
                self._slow(self, request)
                return False
        except RequestError as error:
            self.refuse(slot, error)
        else:
            self.answer(encode_response(request.request_id, request.OPERATION))
        return True

    def _flip(self, request: PgFlip) -> bool:
        """Start the flip. False: the output must be configured for this framebuffer first."""
        frame = self._buffers.frame(request.fb_cookie)
        if not self.screen.shows(frame):
            return False
        self.screen.flip(frame, self.flip_shown)
        self._flip_cookie = request.fb_cookie
        return True

    def flip_shown(self) -> None:
        """The flip is on screen. Runs in the card's task: what goes wrong here is this guest's alone."""
        try:
            self.send_flip_event(self._flip_cookie)
        except Exception as error:
            self._fail(error)

    def send_flip_event(self, fb_cookie: int) -> None:
        self.flips += 1
        if self._event_ring.send(fb_cookie):
            self._events.notify(self.event_port.port)
        else:
            self.log.guest_fault("flip event dropped: the guest does not read its event page")

    def shown_as(self, how: str) -> None:
        """Log how the output shows this connector, when that changes."""
        if how != self._how:
            self._how = how
            self.log.info("shown on %s", how)

    def answer(self, response: bytes) -> None:
        self._requests.respond(response)
        if self._requests.push():
            self._events.notify(self.request_port.port)

    def refuse(self, slot: bytes, error: RequestError) -> None:
        request_id, operation = request_header(slot)
        self.log.guest_fault(str(error))
        self.answer(encode_response(request_id, operation, -error.status))
