# SPDX-License-Identifier: GPL-2.0-or-later
"""Finds vdispl devices, by the backend's own path alone, and keeps one task for each."""

from __future__ import annotations

import logging

import trio

from xendisplback.errors import HostError, leaves
from xendisplback.frontend.backend import Backend
from xendisplback.frontend.device import Device
from xendisplback.frontend.lifecycle import Frontend
from xendisplback.protocol.xenbus import XenbusState
from xendisplback.xen.store import StoreClosed

logger = logging.getLogger(__name__)

CLOSING = str(int(XenbusState.Closing))
RESTART_SECONDS = 1.0
"""The pause after a frontend's task ended, so that a fault that returns at once can't keep us busy."""


class Discovery:
    def __init__(
        self,
        backend_domid: int,
        backend: Backend,
    ) -> None:
        self._backend_domid = backend_domid
        self._root = f"/local/domain/{backend_domid}/backend/vdispl"
        self._backend = backend
        self._store = backend.store
        self._frontends: dict[Device, Frontend] = {}
        self._stopping = False
        self._all_ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started: every device that was there has been told that we are here."""
        async with trio.open_nursery() as nursery, self._store.watch(self._root) as watch:
            nursery.start_soon(self._watch_deaths, nursery)
            await self._scan(nursery)
            for frontend in list(self._frontends.values()):
                await frontend.advertised.wait()
            task_status.started()
            async for path in watch:
                device = self._device_of(path)
                if device is None:
                    await self._scan(nursery)
                else:
                    await self._consider(device, nursery)

    def describe(self) -> list[dict[str, object]]:
        """For the operator."""
        return [self._frontends[device].describe() for device in sorted(self._frontends)]

    async def settled(self) -> None:
        """Until what an earlier process left of the devices that were found is taken over, or given up."""
        for frontend in list(self._frontends.values()):
            await frontend.settled.wait()

    async def stop(self) -> None:
        """Close every frontend in an orderly way. The caller sets the deadline."""
        self._stopping = True
        for frontend in self._frontends.values():
            frontend.stop()
        if self._frontends:
            await self._all_ended.wait()

    async def _watch_deaths(self, nursery: trio.Nursery) -> None:
        allocator = self._backend.allocator
        async with self._store.watch("@releaseDomain") as watch:
            async for _ in watch:
                for frontend in self._frontends.values():
                    frontend.poke()
                for domid in allocator.domains:
                    if not await self._store.is_introduced(domid):
                        nursery.start_soon(self._free_memory_of, domid)

    async def _free_memory_of(self, domid: int) -> None:
        try:
            await self._backend.allocator.domain_gone(domid)
        except HostError as error:
            logger.error("dom %d is gone, its be-alloc=1 memory is not: %s", domid, error)

    def _device_of(self, path: str) -> Device | None:
        """The device whose node ``path`` is; None for a path above the devices."""
        parts = path.removeprefix(self._root).strip("/").split("/")
        if len(parts) < 2 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            return None
        return Device(self._backend_domid, int(parts[0]), int(parts[1]))

    async def _scan(self, nursery: trio.Nursery) -> None:
        for domid in await self._store.directory(self._root):
            for index in await self._store.directory(f"{self._root}/{domid}"):
                device = self._device_of(f"{self._root}/{domid}/{index}")
                if device is not None:
                    await self._consider(device, nursery)

    async def _consider(self, device: Device, nursery: trio.Nursery) -> None:
        """Tell the device's frontend that something changed, or start one for a device that wants one."""
        frontend = self._frontends.get(device)
        if frontend is not None:
            frontend.poke()
        elif not self._stopping and await self._wanted(device):
            frontend = Frontend(device, self._backend)
            self._frontends[device] = frontend
            nursery.start_soon(self._supervise, frontend, nursery)

    async def _wanted(self, device: Device) -> bool:
        store, path = self._store, device.backend_path
        state = await store.get(f"{path}/state")
        if state == CLOSING:
            # The toolstack waits for us to close it, though it ended before we saw it.
            return True
        return (
            state is not None
            and await store.get(f"{path}/online") == "1"
            and await store.is_introduced(device.domid)
        )

    async def _supervise(self, frontend: Frontend, nursery: trio.Nursery) -> None:
        """Task: run ``frontend``. No fault of one frontend reaches another."""
        try:
            await frontend.run()
        except* StoreClosed:
            # Our own watch tells the daemon; nothing can be said to this guest any more.
            pass
        except* HostError as group:
            for error in leaves(group):
                logger.error("%s: %s", frontend.device, error)
        except* Exception:
            logger.exception("%s: fault in xendisplback, please report it", frontend.device)
        finally:
            frontend.advertised.set()
            frontend.settled.set()
            del self._frontends[frontend.device]
            if not self._frontends:
                self._all_ended.set()
        if not self._stopping:
            await trio.sleep(RESTART_SECONDS)
            await self._consider(frontend.device, nursery)
