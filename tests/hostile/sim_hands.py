# SPDX-License-Identifier: GPL-2.0-or-later
"""The hands of a guest of the simulated host."""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager

import trio

from tests.hostile.hands import Page, StoreRefused
from xendisplback.protocol.displif import SLOT_SIZE, parse_response
from xendisplback.protocol.ring import REQ_PROD, RING_SLOTS, RSP_PROD, SLOTS_AT, U32
from xendisplback.sim.domain import Domain
from xendisplback.sim.host import SimHost
from xendisplback.sim.mapping import PageMapping
from xendisplback.sim.shared_page import SharedPage
from xendisplback.sim.store_tree import StoreError


class _OwnPage:
    def __init__(self, number: int, mapping: PageMapping, ref: int) -> None:
        self.page = Page(number, ref)
        self.mapping = mapping
        self.view = mapping.view()
        self.shared = SharedPage(mapping.address)

    def close(self) -> None:
        self.view.release()
        self.mapping.close()


class SimHands:
    """Fulfils :class:`tests.hostile.hands.Hands` for ``domain``, whose driver never ran. :meth:`close` it."""

    def __init__(
        self, host: SimHost, domain: Domain, neighbour: int, neighbours_output: str
    ) -> None:
        self.domid = domain.domid
        self.neighbour = neighbour
        self.neighbours_output = neighbours_output
        self.path = domain.guest.path
        self.backend_path = domain.guest.backend_path
        self.milliseconds = 300
        self.patience = 0.3
        self._memory = domain.memory
        self._store = domain.store
        self._backend_domid = domain.guest.backend_domid
        self._channels = host.channels.open(domain.domid)
        self._pages: dict[int, _OwnPage] = {}
        self._next = 0
        self._ports: list[int] = []
        self._races: list[threading.Thread] = []

    async def close(self) -> None:
        await self.reset()
        self._channels.close()

    # Pages

    async def grant(self, count: int, *, readonly: bool = False) -> Sequence[Page]:
        made: list[Page] = []
        for file_page in self._memory.allocate(count):
            mapping = self._memory.map_own([file_page])
            ref = self._memory.grant(file_page, self._backend_domid, readonly=readonly)
            own = self._pages[self._next] = _OwnPage(self._next, mapping, ref)
            self._next += 1
            made.append(own.page)
        return made

    async def end(self, page: Page) -> None:
        self._memory.end_access(page.ref)
        self._pages.pop(page.number).close()

    async def poke(self, page: Page, offset: int, data: bytes) -> None:
        own = self._pages[page.number]
        if len(data) == 4:
            own.shared.store(offset, int.from_bytes(data, "little"))
            own.shared.fence()
        else:
            own.view[offset : offset + len(data)] = data

    async def peek(self, page: Page, offset: int, length: int) -> bytes:
        own = self._pages[page.number]
        if length == 4:
            return own.shared.load(offset).to_bytes(4, "little")
        return bytes(own.view[offset : offset + length])

    async def series(self, page: Page, offset: int, first: int, count: int, step: int) -> None:
        for index in range(count):
            value = (first + index * step) & U32
            self._pages[page.number].shared.store(offset + 4 * index, value)

    async def race(self, page: Page, offset: int, one: int, other: int) -> None:
        shared, deadline = self._pages[page.number].shared, self._deadline()

        def run() -> None:
            while time.monotonic() < deadline:
                shared.store(offset, one)
                time.sleep(0)
                shared.store(offset, other)
                time.sleep(0)

        self._races.append(threading.Thread(target=run))
        self._races[-1].start()

    def _deadline(self) -> float:
        return time.monotonic() + self.milliseconds / 1000

    async def flood(self, ring: Page, port: int) -> Mapping[int, int]:
        own, deadline = self._pages[ring.number], self._deadline()
        template = bytes(own.view[SLOTS_AT : SLOTS_AT + RING_SLOTS * SLOT_SIZE])
        seen: Counter[int] = Counter()
        done = own.shared.load(RSP_PROD)
        while time.monotonic() < deadline:
            own.view[SLOTS_AT : SLOTS_AT + len(template)] = template
            done = (done + RING_SLOTS) & U32
            own.shared.store(REQ_PROD, done)
            own.shared.fence()
            self._channels.notify(port)
            with trio.move_on_after(5):
                while own.shared.load(RSP_PROD) != done:
                    await trio.sleep(0.001)
            if own.shared.load(RSP_PROD) != done:
                break
            for at in range(SLOTS_AT, SLOTS_AT + len(template), SLOT_SIZE):
                seen[-parse_response(own.shared.read_slot(at)).status] += 1
        return seen

    # Event channels

    async def port(self) -> int:
        self._ports.append(self._channels.allocate(self._backend_domid))
        return self._ports[-1]

    async def kick(self, port: int, count: int = 1) -> None:
        for _ in range(count):
            self._channels.notify(port)

    # XenStore

    async def read(self, path: str) -> str:
        with _refusals():
            value = self._store.get(path)
        if value is None:
            raise StoreRefused("ENOENT")
        return value

    async def write(self, path: str, value: str) -> None:
        with _refusals():
            self._store.write(path, value)

    async def remove(self, path: str) -> None:
        with _refusals():
            self._store.remove(path)

    async def owner(self, path: str) -> int:
        with _refusals():
            return self._store.permissions(path)[0].domid

    async def store_storm(self, path: str, values: Sequence[str]) -> int:
        written, deadline = 0, self._deadline()
        while time.monotonic() < deadline:
            self._store.write(path, values[written % len(values)])
            written += 1
            await trio.lowlevel.checkpoint()
        return written

    # Time

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def reset(self) -> None:
        for race in self._races:
            await trio.to_thread.run_sync(race.join)
        self._races.clear()
        for own in list(self._pages.values()):
            await self.end(own.page)
        for port in self._ports:
            self._channels.unbind(port)
        self._ports.clear()


@contextmanager
def _refusals() -> Generator[None]:
    try:
        yield
    except StoreError as error:
        raise StoreRefused(errno.errorcode[error.errno]) from None
