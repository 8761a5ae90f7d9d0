# SPDX-License-Identifier: GPL-2.0-or-later
"""One connector of a guest as xen_drm_front has it: rings, one request in flight, flips and their events."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from errno import EIO, ETIMEDOUT

import trio

from xendisplback.protocol.displif import (
    PgFlip,
    Request,
    Response,
    SetConfig,
    encode_request,
    parse_event,
    parse_response,
)
from xendisplback.sim.front_ring import FrontEvents, FrontRing
from xendisplback.sim.guest_buffer import GuestFramebuffer
from xendisplback.sim.pixels import BITS_PER_PIXEL

RESPONSE_SECONDS = 3.0
"""XEN_DRM_FRONT_WAIT_BACK_MS."""
FRAME_DONE_SECONDS = RESPONSE_SECONDS + 0.1


class GuestError(Exception):
    """What the guest's userspace gets as ``errno``: the backend's answer, ETIMEDOUT without one, EIO unplugged."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"{what}: {os.strerror(number)}")
        self.errno = number


@dataclass(frozen=True, slots=True)
class FlipTimes:
    """One flip as its guest saw it, CLOCK_MONOTONIC in seconds."""

    sent: float
    answered: float
    done: float


class RequestChannel:
    """A control ring with at most one request in flight: others wait for their turn."""

    def __init__(self, ring: FrontRing) -> None:
        self.ring = ring
        self.stale_responses = 0
        """Responses to none or an abandoned request: dropped, as Linux drops them."""
        self._lock = trio.Lock()
        self._next_id = 0
        self._current: int | None = None
        self._response: Response | None = None
        self._answered = trio.Event()
        self._connected = True

    async def request(self, request: Request) -> Response:
        """Raises GuestError ETIMEDOUT, EIO. ``request_id`` is ours to choose."""
        async with self._lock:
            if not self._connected:
                raise GuestError(EIO, request.OPERATION.name)
            self._current = self._next_id
            self._next_id = (self._next_id + 1) & 0xFFFF
            self._response = None
            self._answered = trio.Event()
            self.ring.put(encode_request(replace(request, request_id=self._current)))
            self.ring.push()
            with trio.move_on_after(RESPONSE_SECONDS):
                await self._answered.wait()
            self._current = None
            if self._response is not None:
                return self._response
            raise GuestError(ETIMEDOUT if self._connected else EIO, request.OPERATION.name)

    def on_event(self) -> None:
        for slot in self.ring.take():
            response = parse_response(slot)
            if response.request_id == self._current:
                self._response = response
                self._answered.set()
            else:
                self.stale_responses += 1

    def disconnect(self) -> None:
        """Whoever waits gets EIO."""
        self._connected = False
        self._answered.set()


class Display:
    """A connector with its CRTC and plane, as the guest's userspace uses them."""

    def __init__(self, index: int, requests: FrontRing, events: FrontEvents) -> None:
        self.index = index
        self.requests = requests
        self.events = events
        self.channel = RequestChannel(requests)
        self.connected = True
        """False after a refused SET_CONFIG or PG_FLIP, until the next :meth:`disable`."""
        self.flips = 0
        self.frame_done_timeouts = 0
        self.skipped_events = 0
        """Events whose id was not the next one: Linux skips them, and the flip times out."""
        self.times: deque[FlipTimes] = deque(maxlen=10000)
        self.on_frame_done: Callable[[], None] | None = None
        """Called at each event, whether a flip waits for it or not."""
        self._next_event = 0
        self._frame_done = trio.Event()

    async def call(self, request: Request) -> Response:
        """Raises GuestError, for a refusal too."""
        response = await self.channel.request(request)
        if response.status:
            raise GuestError(-response.status, request.OPERATION.name)
        return response

    async def mode_set(
        self, x: int, y: int, width: int, height: int, bpp: int, fb_cookie: int
    ) -> None:
        """Raises GuestError."""
        await self.call(SetConfig(0, fb_cookie, x, y, width, height, bpp))

    async def enable(self, fb: GuestFramebuffer) -> None:
        """Show ``fb``. Raises GuestError."""
        bpp = BITS_PER_PIXEL[fb.format]
        try:
            await self.mode_set(0, 0, fb.width, fb.height, bpp, fb.cookie)
        except GuestError:
            self.connected = False
            raise

    async def disable(self) -> None:
        """Raises GuestError; a flip that waits is over either way."""
        try:
            await self.mode_set(0, 0, 0, 0, 0, 0)
        finally:
            self.connected = True
            self._frame_done.set()

    async def flip(self, fb: GuestFramebuffer) -> FlipTimes:
        """PG_FLIP, its response, its event. Raises GuestError, ETIMEDOUT without the event too."""
        with trio.CancelScope(deadline=trio.current_time() + FRAME_DONE_SECONDS) as scope:
            sent = time.monotonic()
            await self.send_flip(fb.cookie)
            answered = time.monotonic()
            await self._frame_done.wait()
            self.flips += 1
            times = FlipTimes(sent, answered, time.monotonic())
            self.times.append(times)
            return times
        assert scope.cancelled_caught
        self.frame_done_timeouts += 1
        raise GuestError(ETIMEDOUT, "Frame done timed-out")

    async def send_flip(self, fb_cookie: int) -> None:
        """PG_FLIP and its response, without waiting for the event. Raises GuestError."""
        self._frame_done = trio.Event()
        try:
            await self.call(PgFlip(0, fb_cookie))
        except GuestError:
            self.connected = False
            raise

    async def frame_done(self) -> None:
        """Until the event of the last :meth:`send_flip` has come."""
        await self._frame_done.wait()

    def on_event(self) -> None:
        for slot in self.events.take():
            event = parse_event(slot)
            expected, self._next_event = self._next_event, (self._next_event + 1) & 0xFFFF
            if event.event_id != expected:
                self.skipped_events += 1
                continue
            self._frame_done.set()
            if self.on_frame_done is not None:
                self.on_frame_done()

    def disconnect(self) -> None:
        self.channel.disconnect()
        self._frame_done.set()

    def close(self) -> None:
        """Take the ring pages back."""
        self.disconnect()
        self.requests.close()
        self.events.close()
