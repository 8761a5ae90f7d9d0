# SPDX-License-Identifier: GPL-2.0-or-later
"""A frontend that does what it likes with everything that a guest can write, as :class:`Choices` say.

Its driver handles nothing any more once it is connected: its rings, its pages and its nodes are the attack's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from tests.hostile.choices import Choices
from xendisplback.protocol.displif import (
    DbufCreate,
    DbufDestroy,
    FbAttach,
    FbDetach,
    GetEdid,
    Operation,
    PgFlip,
    Request,
    SetConfig,
    encode_request,
)
from xendisplback.protocol.formats import fourcc
from xendisplback.protocol.ring import IN_CONS, IN_PROD, REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest_buffer import OwnBuffer
from xendisplback.sim.store_tree import StoreError

STEPS = 60
WIDTH, HEIGHT = 64, 48
SIZE = 4 * WIDTH * HEIGHT
FORMATS = [fourcc(name) for name in ("XR24", "AR24", "RG16", "YUYV", "XR30")]
NODES = (
    *("state", "0/req-ring-ref", "0/req-event-channel", "0/evt-ring-ref", "0/evt-event-channel"),
    *("0/resolution", "0/unique-id", "1/resolution", "version", "request-version", "0", "be-alloc"),
)
VALUES = (
    "",
    "0",
    "1",
    "3",
    "4",
    "5",
    "6",
    "-1",
    "4294967296",
    "64x48",
    "0x0",
    "HDMI-A-1",
    "\x1b[2J\n",
)


class Attack:
    def __init__(self, domain: Domain, choices: Choices) -> None:
        """``domain``: connected."""
        self._domain = domain
        self._guest = domain.guest
        self._choose = choices
        self._buffers: list[OwnBuffer] = []
        self._cookies = [1, 2, 3]
        self._steps: Sequence[Callable[[], Awaitable[None]]] = (
            *(self._request, self._request, self._request, self._work, self._slot),
            *(self._indices, self._storm, self._event_page, self._node, self._directory),
            *(self._end_grants, self._flips, self._pause),
        )

    async def run(self) -> None:
        self._guest.freeze()
        for _ in range(STEPS):
            if not self._choose.left:
                break
            await self._choose.pick(self._steps)()
        # What is on its way is answered, or not.
        await trio.sleep(0.01)

    # Requests

    def _send(self, slot: bytes) -> None:
        ring = self._choose.pick(self._guest.displays).requests
        ring.put(slot)
        ring.push()

    async def _slot(self) -> None:
        operation = self._choose.pick([*map(int, Operation), 0xFF])
        self._send(self._choose.bytes(2) + bytes([operation]) + self._choose.bytes(61))

    async def _request(self) -> None:
        self._send(encode_request(self._choose.pick(self._requests)()))

    @property
    def _requests(self) -> Sequence[Callable[[], Request]]:
        return (
            self._create,
            self._destroy,
            self._attach,
            self._detach,
            self._set,
            self._flip,
            self._edid,
        )

    def _cookie(self) -> int:
        return self._choose.pick(self._cookies) or 1

    def _size(self) -> int:
        return self._choose.u32(SIZE, WIDTH, HEIGHT, 32, 16)

    def _reference(self) -> int:
        return self._choose.u32(*(buffer.directory_ref for buffer in self._buffers), 0, 8)

    def _create(self) -> DbufCreate:
        size = self._size
        flags = self._choose.below(2)
        return DbufCreate(
            *(0, self._cookie(), size(), size(), size(), size()), flags, self._reference(), size()
        )

    def _destroy(self) -> DbufDestroy:
        return DbufDestroy(0, self._cookie())

    def _attach(self) -> FbAttach:
        return FbAttach(
            *(0, self._cookie(), self._cookie(), self._size(), self._size()),
            self._choose.pick(FORMATS),
        )

    def _detach(self) -> FbDetach:
        return FbDetach(0, self._cookie())

    def _set(self) -> SetConfig:
        size = self._size
        return SetConfig(0, self._cookie(), size(), size(), size(), size(), size())

    def _flip(self) -> PgFlip:
        return PgFlip(0, self._cookie())

    def _edid(self) -> GetEdid:
        return GetEdid(0, self._choose.u32(32768, 32768 + 4096), self._reference())

    async def _work(self) -> None:
        """What a good frontend does, so that there is something to spoil: a buffer on the screen."""
        buffer = self._guest.allocate(SIZE)
        assert isinstance(buffer, OwnBuffer)
        buffer.pixels[:] = bytes([0xAA]) * SIZE
        self._buffers.append(buffer)
        frame = buffer.cookie + 1
        self._cookies += [buffer.cookie, frame]
        for request in (
            DbufCreate(0, buffer.cookie, WIDTH, HEIGHT, 32, SIZE, 0, buffer.directory_ref, 0),
            FbAttach(0, buffer.cookie, frame, WIDTH, HEIGHT, fourcc("XR24")),
            SetConfig(0, frame, 0, 0, WIDTH, HEIGHT, 32),
            PgFlip(0, frame),
        ):
            self._send(encode_request(request))
            await trio.sleep(0.002)

    async def _flips(self) -> None:
        """Faster than any screen."""
        for _ in range(self._choose.below(32)):
            self._send(encode_request(self._flip()))

    # Shared pages

    async def _indices(self) -> None:
        ring = self._choose.pick(self._guest.displays).requests
        where = self._choose.pick((REQ_PROD, REQ_EVENT, RSP_PROD, RSP_EVENT))
        ring.shared.store(where, self._choose.u32(ring.req_prod, ring.req_prod + 64))
        ring.kick()

    async def _storm(self) -> None:
        display = self._choose.pick(self._guest.displays)
        for _ in range(self._choose.below(64)):
            display.requests.kick()
            display.events.kick()

    async def _event_page(self) -> None:
        events = self._choose.pick(self._guest.displays).events
        events.shared.store(self._choose.pick((IN_CONS, IN_PROD)), self._choose.u32())
        where = self._choose.below(4096)
        text = self._choose.bytes(8)[: 4096 - where]
        events.page[where : where + len(text)] = text

    async def _directory(self) -> None:
        """Also while it is read: the walk may be on its way."""
        if self._buffers:
            buffer = self._choose.pick(self._buffers)
            buffer.set_directory_entry(0, self._choose.below(8), self._reference())

    async def _end_grants(self) -> None:
        if self._buffers:
            self._buffers.pop(self._choose.below(len(self._buffers))).free()

    # XenStore

    async def _node(self) -> None:
        path = f"{self._guest.path}/{self._choose.pick(NODES)}"
        try:
            if self._choose.below(3):
                self._domain.store.write(path, self._choose.pick(VALUES))
            else:
                self._domain.store.remove(path)
        except StoreError:
            pass  # The toolstack's.

    async def _pause(self) -> None:
        await trio.sleep(self._choose.below(10) / 1000)
