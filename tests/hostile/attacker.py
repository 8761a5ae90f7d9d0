# SPDX-License-Identifier: GPL-2.0-or-later
"""A frontend in user space that can do all that a good one does, so that a case has something to spoil."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.hostile.hands import AttackSucceeded, Hands, Page, StoreRefused
from xendisplback.protocol.displif import (
    SLOT_SIZE,
    DbufCreate,
    DbufDestroy,
    FbAttach,
    PgFlip,
    PgFlipEvent,
    Request,
    Response,
    SetConfig,
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
    RSP_PROD,
    SLOTS_AT,
    U32,
)

WIDTH, HEIGHT = 64, 48
SIZE = 4 * WIDTH * HEIGHT
PAGES = SIZE // 4096
XR24 = fourcc("XR24")
CONNECTORS = 2
ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 6.0
_WORD = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Buffer:
    cookie: int
    directory: Page
    pages: Sequence[Page]

    def create(self, **changes: int) -> DbufCreate:
        """The request that makes it, but for ``changes``."""
        good = DbufCreate(0, self.cookie, WIDTH, HEIGHT, 32, SIZE, 0, self.directory.ref)
        return replace(good, **changes)

    def attach(self, cookie: int, **changes: int) -> FbAttach:
        return replace(FbAttach(0, self.cookie, cookie, WIDTH, HEIGHT, XR24), **changes)


class Channel:
    """A connector's rings."""

    def __init__(self, hands: Hands, pages: Sequence[Page], ports: Sequence[int]) -> None:
        self.requests, self.events = pages
        self.port, self.event_port = ports
        self.req_prod = 0
        self.rsp_cons = 0
        self._hands = hands

    async def put(self, request: Request | bytes) -> None:
        """Into the next slot."""
        slot = request if isinstance(request, bytes) else encode_request(request)
        where = SLOTS_AT + (self.req_prod % RING_SLOTS) * SLOT_SIZE
        await self._hands.poke(self.requests, where, slot)
        self.req_prod = (self.req_prod + 1) & U32

    async def publish(self, req_prod: int) -> None:
        await self.word(self.requests, REQ_PROD, req_prod)
        await self._hands.kick(self.port)

    async def push(self) -> None:
        await self.publish(self.req_prod)

    async def word(self, page: Page, offset: int, value: int) -> None:
        await self._hands.poke(page, offset, _WORD.pack(value & U32))

    async def load(self, page: Page, offset: int) -> int:
        (value,) = _WORD.unpack(await self._hands.peek(page, offset, 4))
        return int(value)

    async def responses(self, count: int) -> list[Response]:
        """The next ``count``. Raises AttackSucceeded: they don't come."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (await self.load(self.requests, RSP_PROD) - self.rsp_cons) & U32 < count:
            if time.monotonic() > deadline:
                raise AttackSucceeded(f"{count} requests are not answered, nor the frontend closed")
            await self._hands.sleep(0.002)
        return [await self._response() for _ in range(count)]

    async def _response(self) -> Response:
        where = SLOTS_AT + (self.rsp_cons % RING_SLOTS) * SLOT_SIZE
        slot = await self._hands.peek(self.requests, where, SLOT_SIZE)
        self.rsp_cons = (self.rsp_cons + 1) & U32
        return parse_response(slot)

    async def resync(self) -> None:
        """After a flood, which counted by itself."""
        self.req_prod = self.rsp_cons = await self.load(self.requests, RSP_PROD)

    async def event(self, number: int) -> PgFlipEvent:
        where = SLOTS_AT + (number % EVENT_SLOTS) * SLOT_SIZE
        return parse_event(await self._hands.peek(self.events, where, SLOT_SIZE))

    async def wait_events(self, in_prod: int) -> None:
        """Until that many were sent. Raises AttackSucceeded."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while (now := await self.load(self.events, IN_PROD)) != in_prod:
            if time.monotonic() > deadline:
                raise AttackSucceeded(f"{now} flip events, not {in_prod}")
            await self._hands.sleep(0.002)

    async def read_events(self) -> None:
        await self.word(self.events, IN_CONS, await self.load(self.events, IN_PROD))


class Attacker:
    def __init__(self, hands: Hands) -> None:
        self.hands = hands
        self.channels: list[Channel] = []
        self._cookie = 0x1000

    # Connections

    async def backend_state(self) -> str:
        return await self.hands.read(f"{self.hands.backend_path}/state")

    async def wait_backend(self, states: str, seconds: float = CONNECT_SECONDS) -> bool:
        """Whether it came to one of ``states``: ``"46"``."""
        deadline = time.monotonic() + seconds
        while await self.backend_state() not in states:
            if time.monotonic() > deadline:
                return False
            await self.hands.sleep(0.02)
        return True

    async def state(self, value: str) -> None:
        await self.hands.write(f"{self.hands.path}/state", value)

    async def make_rings(self) -> None:
        self.channels = []
        for _ in range(CONNECTORS):
            pages = await self.hands.grant(2)
            ports = [await self.hands.port() for _ in range(2)]
            self.channels.append(Channel(self.hands, pages, ports))

    async def publish(self, **changes: str) -> None:
        """The rings' nodes, connector 0's with ``changes``: ``req_ring_ref="0"``; then Initialised."""
        for index, channel in enumerate(self.channels):
            nodes = {
                "req-ring-ref": str(channel.requests.ref),
                "req-event-channel": str(channel.port),
                "evt-ring-ref": str(channel.events.ref),
                "evt-event-channel": str(channel.event_port),
            }
            if index == 0:
                nodes |= {name.replace("_", "-"): value for name, value in changes.items()}
            for name, value in nodes.items():
                await self.hands.write(f"{self.hands.path}/{index}/{name}", value)
        await self.state("3")

    async def connect(self, version: int = 1) -> None:
        """Raises AttackSucceeded: we are not served."""
        await self.leave()
        await self.hands.write(f"{self.hands.path}/version", str(version))
        await self.make_rings()
        await self.publish()
        if not await self.wait_backend("4"):
            raise AttackSucceeded(f"not served; the backend is at {await self.backend_state()}")
        await self.state("4")

    async def leave(self) -> None:
        """Whatever was before: our frontend at Initialising, the backend at InitWait, nothing granted."""
        await self.state("5")
        if not await self.wait_backend("52"):
            raise AttackSucceeded(f"the backend stays at {await self.backend_state()}")
        # What is read may be of before: it has seen 5 by then, and holds its own for 0.2 s.
        await self.hands.sleep(0.3)
        await self.state("1")
        if not await self.wait_backend("2"):
            raise AttackSucceeded(f"the backend stays at {await self.backend_state()}")
        await self.hands.reset()

    async def expect_closed(self) -> None:
        """Closed is published, or by now InitWait again."""
        if not await self.wait_backend("62"):
            raise AttackSucceeded("the frontend was not closed")

    async def expect_not_served(self) -> None:
        if await self.wait_backend("4", self.hands.patience):
            raise AttackSucceeded("the frontend was connected")

    async def expect_served(self) -> None:
        """A buffer can be made and destroyed, and we are still connected."""
        if (state := await self.backend_state()) != "4":
            raise AttackSucceeded(f"the frontend was closed: the backend is at {state}")
        buffer = await self.buffer()
        await self.expect(0, buffer.create())
        await self.expect(0, DbufDestroy(0, buffer.cookie))

    # Requests

    async def send(self, request: Request | bytes, channel: int = 0) -> int:
        """Its errno; 0 for success."""
        ring = self.channels[channel]
        await ring.put(request)
        await ring.push()
        (response,) = await ring.responses(1)
        return -response.status

    async def expect(self, expected: int, request: Request | bytes, channel: int = 0) -> None:
        """Raises AttackSucceeded: the answer is another one."""
        answered = await self.send(request, channel)
        if answered != expected:
            raise AttackSucceeded(f"{request!r} is answered {answered}, not {expected}")

    def cookie(self) -> int:
        self._cookie += 0x10
        return self._cookie

    async def buffer(self, pages: int = PAGES) -> Buffer:
        """Memory and its directory; the backend is told nothing."""
        directory, *own = await self.hands.grant(1 + pages)
        refs = b"".join(_WORD.pack(page.ref) for page in own)
        await self.hands.poke(directory, 4, refs)
        return Buffer(self.cookie(), directory, own)

    async def created(self) -> Buffer:
        buffer = await self.buffer()
        await self.expect(0, buffer.create())
        return buffer

    async def picture(self) -> tuple[Buffer, int]:
        """A buffer, and the cookie of a framebuffer on it, on the screen of connector 0."""
        buffer = await self.created()
        frame = self.cookie()
        await self.expect(0, buffer.attach(frame))
        await self.expect(0, config(frame))
        return buffer, frame

    async def flip(self, frame: int) -> None:
        """Until its event. Raises AttackSucceeded."""
        ring = self.channels[0]
        before = await ring.load(ring.events, IN_PROD)
        await self.expect(0, PgFlip(0, frame))
        await ring.wait_events((before + 1) & U32)

    async def refused_by_store(self, path: str, value: str) -> str:
        """XenStore's word. Raises AttackSucceeded: it was written."""
        try:
            await self.hands.write(path, value)
        except StoreRefused as refusal:
            return str(refusal)
        raise AttackSucceeded(f"{path} could be written")


def config(frame: int, **changes: int) -> SetConfig:
    return replace(SetConfig(0, frame, 0, 0, WIDTH, HEIGHT, 32), **changes)
