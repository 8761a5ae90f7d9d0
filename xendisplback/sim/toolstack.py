# SPDX-License-Identifier: GPL-2.0-or-later
"""What libxl does about vdispl devices: nodes, permissions, and how long it waits for a backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest import Guest
from xendisplback.sim.local_store import LocalStore, Nodes

if TYPE_CHECKING:
    from xendisplback.sim.host import SimHost

WAIT_SECONDS = 10.0
"""LIBXL_INIT_TIMEOUT and LIBXL_DESTROY_TIMEOUT."""

Connectors = Sequence[tuple[str, str]]
"""(unique-id, resolution) of each connector."""


class ToolstackTimeout(Exception):
    """The backend did not reach the state that libxl waits for."""


class Toolstack:
    """Dom0's. :attr:`store` is its own connection."""

    def __init__(self, host: SimHost, store: LocalStore) -> None:
        self.store = store
        self.wait_seconds = WAIT_SECONDS
        self._host = host
        self._next_domid = 1

    async def create(
        self,
        connectors: Connectors,
        *,
        name: str = "guest",
        be_alloc: bool = False,
        start: bool = True,
        wait: bool = True,
    ) -> Domain:
        """``xl create``: the guest runs once its backend is at InitWait.

        ``wait=False``: do not wait for that. ``start=False``: leave the guest paused (``guest.start``).
        Raises ToolstackTimeout; the domain is left behind, as libxl would destroy it.
        """
        domid = self._next_domid
        self._next_domid += 1
        home = f"/local/domain/{domid}"
        self.store.write(f"{home}/name", name)
        self.store.write(f"{home}/domid", str(domid))
        for path in (home, f"{home}/name", f"{home}/domid"):
            self.store.set_permissions(path, "n0", f"r{domid}")
        self.store.introduce(domid)
        domain = self._host.new_domain(domid)
        self._add_device(domain, 0, connectors, be_alloc=be_alloc)
        domain.add_guest(0)
        if wait:
            await self._wait_backend(domid, 0, XenbusState.InitWait)
        if start:
            domain.guest.start()
        return domain

    async def attach(self, domain: Domain, connectors: Connectors) -> Guest:
        """``xl vdispl-attach``: the running guest finds the device while libxl still waits."""
        index = max(domain.guests, default=-1) + 1
        self._add_device(domain, index, connectors, be_alloc=False)
        guest = domain.add_guest(index)
        guest.start()
        await self._wait_backend(domain.domid, index, XenbusState.InitWait)
        return guest

    async def detach(self, domain: Domain, index: int = 0) -> None:
        """``xl vdispl-detach``. The nodes are removed even if this raises ToolstackTimeout."""
        try:
            await self._close_backend(domain.domid, index)
        finally:
            self._remove_nodes(domain.domid, index)
            domain.guests.pop(index).stop()

    async def shutdown(self, domain: Domain) -> bool:
        """The guest shuts down by itself, then its domain goes; whether it saw every backend close."""
        seen = [await guest.shutdown() for guest in domain.guests.values()]
        await self.destroy(domain)
        return all(seen)

    async def destroy(self, domain: Domain) -> None:
        """``xl destroy``: the guest is stopped first. Everything is gone even if this raises ToolstackTimeout."""
        for guest in domain.guests.values():
            guest.stop()
        try:
            for index in domain.guests:
                await self._close_backend(domain.domid, index)
        finally:
            for index in domain.guests:
                self._remove_nodes(domain.domid, index)
            self.store.remove(f"/local/domain/{domain.domid}")
            domain.die()

    # Nodes

    def _paths(self, domid: int, index: int) -> tuple[str, str, str]:
        return (
            f"/local/domain/0/backend/vdispl/{domid}/{index}",
            f"/local/domain/{domid}/device/vdispl/{index}",
            f"/libxl/{domid}/device/vdispl/{index}",
        )

    def _add_device(
        self, domain: Domain, index: int, connectors: Connectors, *, be_alloc: bool
    ) -> None:
        domid = domain.domid
        backend, frontend, libxl = self._paths(domid, index)
        readable = ("n0", f"r{domid}")

        def body(nodes: Nodes) -> None:
            nodes.mkdir(backend)
            nodes.set_permissions(backend, *readable)
            nodes.write(f"{backend}/frontend", frontend)
            nodes.write(f"{backend}/frontend-id", str(domid))
            nodes.write(f"{backend}/online", "1")
            nodes.write(f"{backend}/state", "1")
            nodes.mkdir(frontend)
            nodes.set_permissions(frontend, f"n{domid}", "r0")
            nodes.write(f"{frontend}/backend", backend)
            nodes.write(f"{frontend}/backend-id", "0")
            nodes.write(f"{frontend}/state", "1")
            nodes.write(f"{frontend}/be-alloc", str(int(be_alloc)))
            nodes.set_permissions(f"{frontend}/be-alloc", *readable)
            for number, (unique_id, resolution) in enumerate(connectors):
                for leaf, value in (("resolution", resolution), ("unique-id", unique_id)):
                    nodes.write(f"{frontend}/{number}/{leaf}", value)
                    nodes.set_permissions(f"{frontend}/{number}/{leaf}", *readable)
            nodes.write(f"{libxl}/frontend", frontend)
            nodes.write(f"{libxl}/backend", backend)

        self.store.transact(body)

    def _remove_nodes(self, domid: int, index: int) -> None:
        for path in self._paths(domid, index):
            self.store.remove(path)

    async def _close_backend(self, domid: int, index: int) -> None:
        backend = self._paths(domid, index)[0]

        def body(nodes: Nodes) -> bool:
            if nodes.get(f"{backend}/state") in (None, "6"):
                return False
            nodes.write(f"{backend}/online", "0")
            nodes.write(f"{backend}/state", "5")
            return True

        if self.store.transact(body):
            await self._wait_backend(domid, index, XenbusState.Closed)

    async def _wait_backend(self, domid: int, index: int, state: XenbusState) -> None:
        path = f"{self._paths(domid, index)[0]}/state"
        changed = trio.Event()
        reached = str(int(state))

        def look() -> None:
            if self.store.get(path) == reached:
                changed.set()

        with trio.move_on_after(self.wait_seconds), self.store.watch(path, look):
            await changed.wait()
        if not changed.is_set():
            raise ToolstackTimeout(
                f"{path} is {self.store.get(path)!r} after {self.wait_seconds:g} s, not {reached}"
            )
