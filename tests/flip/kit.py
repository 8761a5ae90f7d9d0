# SPDX-License-Identifier: GPL-2.0-or-later
"""One connector's hot path in C, between a ring that the test writes and a card that the test is."""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Callable, Sequence

from tests.commits import COMMIT_FUNCTION
from xendisplback._ext import load_flip
from xendisplback.protocol.displif import (
    PgFlip,
    PgFlipEvent,
    Response,
    encode_request,
    parse_event,
    parse_response,
)
from xendisplback.protocol.formats import fourcc
from xendisplback.protocol.ring import (
    EVENT_SLOTS,
    IN_CONS,
    IN_PROD,
    REQ_PROD,
    RING_SLOTS,
    RSP_EVENT,
    RSP_PROD,
    SLOTS_AT,
)
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.flips import CardFlips, FlipPart, FlipPath, Scanout
from xendisplback.sim.event_channels import EventChannelTable

GUEST = 5
CRTC = 41
XR24 = fourcc("XR24")
WIDTH, HEIGHT = 64, 16
SIZE = 4 * WIDTH * HEIGHT
SECONDS = 20.0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS:g} s: {what}"
        time.sleep(0.001)


class Page:
    def __init__(self, size: int = 4096) -> None:
        self.data = (ctypes.c_char * size)()
        self.address = ctypes.addressof(self.data)

    # As one access each: struct.pack_into() writes zeros first, which C saw.

    def load(self, offset: int) -> int:
        return load_flip().lib.xdb_load_acquire(self.address + offset)

    def store(self, offset: int, value: int) -> None:
        load_flip().lib.xdb_store_release(self.address + offset, value)

    def slot(self, number: int) -> bytes:
        at = SLOTS_AT + 64 * number
        return self.data.raw[at : at + 64]


class Commit:
    """Of one buffer; counts, and may wait or refuse."""

    def __init__(self, connector: Connector, argument: int) -> None:
        def submit(arguments: Sequence[int], count: int) -> int:
            assert count == 1
            return connector.committed(arguments[0])

        self._callback = COMMIT_FUNCTION(submit)
        self.function = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        self.argument = argument

    def close(self) -> None:
        pass


class Connector:
    """A guest's connector, its channel in C, and the CRTC that it flips on."""

    def __init__(self, refresh_rate: float) -> None:
        self.c = load_flip()
        self.table = EventChannelTable()
        self.guest = self.table.open(GUEST)
        self.backend = self.table.open(0, restricted_to=GUEST)
        self.requests, self.events = Page(), Page()
        self.requests.store(RSP_EVENT, 1)
        self.ports = [self.guest.allocate(0) for _ in range(2)]
        self.attention = os.eventfd(0, os.EFD_NONBLOCK)
        doorbell = self.c.ffi.new("struct xdb_doorbell *")
        doorbell.fd, doorbell.handle = self.backend.fd, self.backend.handle
        doorbell.pending = self.backend.pending_function
        doorbell.unmask = self.backend.unmask_function
        doorbell.notify = self.backend.notify_function
        doorbell.request_port, doorbell.event_port = map(self.backend.bind, self.ports)
        self.flips = Scanout(refresh_rate)
        self.record = Page()
        self.handle = self.c.lib.xdb_channel_new(
            *(self.requests.address, self.events.address, doorbell),
            *(self.flips.handle, self.attention, self.record.address),
        )
        self._card, self._event_fd = os.pipe()
        self.card = CardFlips(self._card, "/dev/dri/test")
        self.card.tell(CRTC, self.flips)
        self.pictures = Page(SIZE)
        self.buffers = [Page(SIZE), Page(SIZE)]
        self.commits: list[int] = []
        self.refuse = 0
        self.refused: set[int] = set()
        """The commits that :attr:`refuse` is for; none: all."""
        self.instead: Callable[[], None] = lambda: None
        """Called in the channel's thread, within a commit."""
        self.paths: list[FlipPath] = []
        self._slot = self.c.ffi.new("char[]", 64)
        self._error = self.c.ffi.new("int *")
        self._closed = False

    # The card

    def committed(self, argument: int) -> int:
        self.commits.append(argument)
        self.instead()
        return -self.refuse if argument in self.refused or not self.refused else 0

    def flip_event(self, crtc_id: int = CRTC) -> None:
        os.write(self._event_fd, struct.pack("=IIQIIII", 2, 32, 0, 7, 9, 1, crtc_id))

    def send_raw(self, data: bytes) -> None:
        os.write(self._event_fd, data)

    def hang_up(self) -> None:
        os.close(self._event_fd)
        self._event_fd = -1

    # Framebuffers

    def zero_copy(self, cookie: int, *, refresh: bool = False) -> FlipPath:
        commit = Commit(self, cookie)
        return self._add(FlipPath(cookie, [FlipPart([], [commit], None, refresh)]))

    def copying(self, cookie: int) -> FlipPath:
        """Commits have 100 and 101 as arguments, by the buffer that they show."""
        jobs = self._jobs()
        commits = [Commit(self, 100), Commit(self, 101)]
        return self._add(FlipPath(cookie, [FlipPart(jobs, commits, jobs[0], refresh=True)]))

    def mirrored(self, cookie: int) -> FlipPath:
        """On two CRTCs, CRTC and CRTC + 1; commits have ``cookie`` and ``cookie`` + 1 as arguments."""
        self.card.tell(CRTC + 1, self.flips, part=1)
        parts = [FlipPart([], [Commit(self, cookie + n)], None, refresh=False) for n in range(2)]
        return self._add(FlipPath(cookie, parts))

    def _jobs(self) -> list[CopyJob]:
        source, pitch = self.pictures.address, 4 * WIDTH
        return [
            CopyJob(source, pitch, to.address, pitch, WIDTH, HEIGHT, XR24, XR24)
            for to in self.buffers
        ]

    def _add(self, path: FlipPath) -> FlipPath:
        self.paths.append(path)
        self.flips.add(path)
        return path

    # The guest

    def send(self, *slots: bytes) -> None:
        prod = self.requests.load(REQ_PROD)
        for number, slot in enumerate(slots, prod):
            at = SLOTS_AT + number % RING_SLOTS * 64
            ctypes.memmove(self.requests.address + at, slot, 64)
        self.requests.store(REQ_PROD, prod + len(slots))
        self.guest.notify(self.ports[0])

    def flip(self, cookie: int, request_id: int = 1) -> None:
        self.send(encode_request(PgFlip(request_id, cookie)))

    def responses(self) -> list[Response]:
        return [
            parse_response(self.requests.slot(number % RING_SLOTS))
            for number in range(self.requests.load(RSP_PROD))
        ]

    def flip_events(self) -> list[PgFlipEvent]:
        return [
            parse_event(self.events.slot(number % EVENT_SLOTS))
            for number in range(self.events.load(IN_PROD))
        ]

    def answered(self, count: int) -> None:
        until(lambda: len(self.responses()) == count, f"{count} responses: {self.responses()}")

    def shown(self, count: int) -> None:
        until(lambda: len(self.flip_events()) == count, f"{count} events: {self.flip_events()}")

    def committing(self, count: int) -> None:
        until(lambda: len(self.commits) == count, f"{count} commits: {self.commits}")

    def shown_since(self, count: int) -> None:
        """As :meth:`shown`, for a guest that reads its events."""
        until(lambda: self.events.load(IN_PROD) == count, f"{count} events")
        self.events.store(IN_CONS, count)

    def put_on_screen(self, path: FlipPath) -> None:
        """As a SET_CONFIG does; refreshes begin."""
        self.still()
        self.flips.shown(path, self._jobs()[0].digest())
        self.flips.resume()
        # The thread looks at the output anew when its doorbell rings, if without a request.
        self.guest.notify(self.ports[0])

    def settled(self) -> None:
        """Nothing is on its way, and the next refresh may come."""
        self.still()
        self.flips.resume()

    # Python's side

    def start(self) -> None:
        assert self.c.lib.xdb_channel_start(self.handle) == 0

    def handed(self, seconds: float = SECONDS) -> tuple[int, bytes, int]:
        """What the thread hands over: why, the slot, the errno; XDB_NOTHING after ``seconds``."""
        deadline = time.monotonic() + seconds
        while select.select([self.attention], [], [], max(deadline - time.monotonic(), 0))[0]:
            os.eventfd_read(self.attention)
            why = self.c.lib.xdb_channel_handed(self.handle, self._slot, self._error)
            if why != self.c.lib.XDB_NOTHING:
                return why, self.c.ffi.buffer(self._slot)[:], self._error[0]
        return self.c.lib.XDB_NOTHING, b"", 0

    def nothing_handed(self) -> None:
        assert self.handed(0.1)[0] == self.c.lib.XDB_NOTHING

    def resume(self) -> None:
        self.c.lib.xdb_channel_resume(self.handle)

    def still(self) -> None:
        self.flips.pause()
        assert self.flips.wait(SECONDS)

    def close(self) -> None:
        self.c.lib.xdb_channel_stop(self.handle)
        self.flips.stop()
        self.flips.abandon()
        self.c.lib.xdb_channel_free(self.handle)
        self.card.close()
        self.flips.close()
        self.table.close()
        os.close(self._card)
        os.close(self.attention)
        if self._event_fd >= 0:
            self.hang_up()


def no_wait(seconds: float = 0.05) -> None:
    """Long enough for what must not happen to happen."""
    time.sleep(seconds)
