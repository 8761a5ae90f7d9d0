# SPDX-License-Identifier: GPL-2.0-or-later
"""One connector's rings and event channels, and what of its requests is not the hot path.

A thread in C (cffi_build/flip_channel.c) waits for the guest's doorbell and performs PG_FLIPs; any other request,
and whatever goes wrong, is handed over to here. Until :meth:`Channel.resume` the thread waits and takes no further
request, so requests of one channel are answered in order, and a guest that floods the ring waits for us.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from xendisplback._ext import load_flip
from xendisplback.errors import HostError
from xendisplback.frontend.buffers import BufferTable
from xendisplback.frontend.device import GuestLog
from xendisplback.frontend.nodes import ConnectorNodes
from xendisplback.host import EventChannels, GrantMapping
from xendisplback.protocol.displif import (
    SLOT_SIZE,
    PgFlip,
    Request,
    encode_response,
    parse_request,
    request_header,
)
from xendisplback.protocol.errors import ProtocolViolation, RequestError
from xendisplback.protocol.ring import EVENT_SLOTS, REQ_PROD, RING_SLOTS, SLOTS_AT, U32
from xendisplback.scanout.dark import too_early
from xendisplback.scanout.ladder import COMMIT
from xendisplback.scanout.source import Source
from xendisplback.xen.shared_memory import read_memory


class Tasks(Protocol):
    """What takes long: started as tasks, which answer or send the event, and then :meth:`Channel.resume`."""

    def slow(self, channel: Channel, request: Request) -> None:
        """A request that may wait."""
        ...

    def flip_refused(self, channel: Channel, request: PgFlip, error: HostError) -> None:
        """A card refused a flip that was answered."""
        ...

    def refresh_refused(self, channel: Channel, error: HostError) -> None: ...
    def stuck(self, channel: Channel) -> None:
        """A flip event did not come."""
        ...


class Channel:
    def __init__(
        self,
        nodes: ConnectorNodes,
        version: int,
        pages: tuple[GrantMapping, GrantMapping],
        events: EventChannels,
        attention_fd: int,
        record: int,
        buffers: BufferTable,
        source: Source,
        log: GuestLog,
        tasks: Tasks,
    ) -> None:
        """``pages``: for requests, for events. ``attention_fd``: an eventfd that says when to :meth:`attend`.
        ``record``: the address of a ``struct xdb_record``.

        Raises HostError.
        """
        self.nodes = nodes
        self.version = version
        self.log = log
        self.source = source
        self._buffers = buffers
        self._tasks = tasks
        self._c = c = load_flip()
        self._slot = c.ffi.new("char[]", SLOT_SIZE)
        self._request_page = pages[0].address
        self._error = c.ffi.new("int *")
        self.last_response = (0, b"")
        """The last one to a slow request, and how many came before it, modulo 2**32."""
        doorbell = c.ffi.new("struct xdb_doorbell *")
        doorbell.fd, doorbell.handle = events.fd, events.handle
        doorbell.pending, doorbell.unmask = events.pending_function, events.unmask_function
        doorbell.notify = events.notify_function
        doorbell.request_port = events.bind(nodes.request_channel)
        doorbell.event_port = events.bind(nodes.event_channel)
        requests, event_page = pages
        self.handle = c.lib.xdb_channel_new(
            *(requests.address, event_page.address, doorbell),
            *(source.scanout.handle, attention_fd, record),
        )
        if not self.handle:
            raise HostError("a channel", call="eventfd", errno=c.ffi.errno)

    # The thread

    def start(self) -> None:
        """Raises HostError."""
        result = self._c.lib.xdb_channel_start(self.handle)
        if result != 0:
            raise HostError("a channel's thread", call="pthread_create", errno=-result)

    def take_over(self, number: int, response: bytes) -> None:
        """Before :meth:`start`: an earlier process served the guest, and perhaps did not give ``response``."""
        self.last_response = number, response
        self._c.lib.xdb_channel_notify(self.handle)

    @property
    def flip_asked(self) -> bool:
        """Before :meth:`start`: the guest's next request, which nobody has taken, is a PG_FLIP."""
        page, number = self._request_page, self._responses
        if self._c.lib.xdb_load_acquire(page + REQ_PROD) == number:
            return False
        slot = read_memory(page + SLOTS_AT + number % RING_SLOTS * SLOT_SIZE, SLOT_SIZE)
        return request_header(slot)[1] == PgFlip.OPERATION

    def resume(self) -> None:
        """After :meth:`attend` handed something over: let the thread go on."""
        self._c.lib.xdb_channel_resume(self.handle)

    def stop(self) -> None:
        """End the thread. Blocking: it ends the flip that it is at."""
        self._c.lib.xdb_channel_stop(self.handle)

    def close(self) -> None:
        """Stopped, and nothing of it is on screen."""
        self._c.lib.xdb_channel_free(self.handle)

    def attend(self) -> bool:
        """Look at what the thread handed over; whether it was anything. Raises ProtocolViolation, HostError."""
        lib = self._c.lib
        self._check_events()
        why = lib.xdb_channel_handed(self.handle, self._slot, self._error)
        slot = self._c.ffi.buffer(self._slot)[:]
        if why == lib.XDB_REQUEST:
            self._on_request(slot)
        elif why == lib.XDB_BUSY:
            self._refuse(slot, too_early())
        elif why == lib.XDB_REFUSED:
            request = parse_request(slot, self.version)
            assert isinstance(request, PgFlip)
            self._tasks.flip_refused(self, request, self._commit_refused())
        elif why == lib.XDB_NOT_REFRESHED:
            self._tasks.refresh_refused(self, self._commit_refused())
        elif why == lib.XDB_STUCK:
            self._tasks.stuck(self)
        elif why == lib.XDB_VIOLATION:
            raise ProtocolViolation(self._describe_requests())
        elif why == lib.XDB_BROKEN:
            raise HostError("event channels", call="xenevtchn_pending", errno=self._error[0])
        return why != lib.XDB_NOTHING

    def _on_request(self, slot: bytes) -> None:
        number, response = self.last_response
        if response and number == self._responses:
            # An earlier process has done what is asked.
            self.answer(response)
            self.resume()
            return
        try:
            request = parse_request(slot, self.version)
            if isinstance(request, PgFlip) and self._flip_in_the_dark(request):
                self.answer(encode_response(request.request_id, request.OPERATION))
            else:
                self._tasks.slow(self, request)
                return
        except RequestError as error:
            self._refuse(slot, error)
        else:
            self.resume()

    def _refuse(self, slot: bytes, error: RequestError) -> None:
        request_id, operation = request_header(slot)
        self.log.guest_fault(str(error))
        self.answer(encode_response(request_id, operation, -error.status))
        self.resume()

    def _flip_in_the_dark(self, request: PgFlip) -> bool:
        frame = self._buffers.frame(request.fb_cookie)
        done = partial(self.send_flip_event, request.fb_cookie)
        if not self.source.flip_in_the_dark(frame, done):
            return False
        self.note_flip(request.fb_cookie)
        return True

    def _commit_refused(self) -> HostError:
        return HostError("commit refused", call=COMMIT, errno=self._error[0])

    # Rings

    @property
    def _responses(self) -> int:
        """How many were given, modulo 2**32."""
        ring = self._c.ffi.new("struct xdb_request_ring *")
        self._c.lib.xdb_channel_indices(self.handle, ring, self._c.ffi.NULL)
        return ring.rsp_prod

    def will_answer(self, response: bytes) -> None:
        """What was asked is done: a next process is not to do it again."""
        self.last_response = self._responses, response

    def note_flip(self, fb_cookie: int) -> None:
        """A flip that is not C's, before its response; 0: SET_CONFIG has said what is shown."""
        self._c.lib.xdb_channel_note_flip(self.handle, fb_cookie)

    def answer(self, response: bytes) -> None:
        """While handed over."""
        self._c.lib.xdb_channel_respond(self.handle, response)

    def send_flip_event(self, fb_cookie: int) -> None:
        """What the guest did to its event page, :meth:`attend` tells."""
        self._c.lib.xdb_channel_send_event(self.handle, fb_cookie)

    def _check_events(self) -> None:
        faults = self._c.lib.xdb_channel_event_faults(self.handle)
        if faults < 0:
            raise ProtocolViolation(self._describe_events())
        if faults:
            self.log.guest_fault(
                f"{faults} flip events dropped: the guest does not read its event page"
            )

    def _describe_requests(self) -> str:
        ring = self._c.ffi.new("struct xdb_request_ring *")
        self._c.lib.xdb_channel_indices(self.handle, ring, self._c.ffi.NULL)
        return (
            f"control ring: req_prod {ring.req_prod} is not within {RING_SLOTS} requests"
            f" of rsp_prod {ring.rsp_prod} (taken up to {ring.req_cons})"
        )

    def _describe_events(self) -> str:
        ring = self._c.ffi.new("struct xdb_event_ring *")
        self._c.lib.xdb_channel_indices(self.handle, self._c.ffi.NULL, ring)
        return (
            f"event page: in_cons is {(ring.in_prod - ring.in_cons) & U32} behind in_prod {ring.in_prod},"
            f" at most {EVENT_SLOTS}"
        )

    @property
    def flip_events(self) -> int:
        """How many were sent."""
        return self._c.lib.xdb_channel_events_sent(self.handle)
