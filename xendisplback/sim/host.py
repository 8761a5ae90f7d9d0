# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated machine. Fulfils :class:`xendisplback.host.Host`, for a daemon in any thread."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import TracebackType

import trio

from xendisplback.errors import HostError
from xendisplback.host import NONE_KEPT, Card, DisplayChange, DomainFacts, KeptCard
from xendisplback.sim.card import SimCard
from xendisplback.sim.changes import ChangeListener
from xendisplback.sim.counts import Counts
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.event_channels import EventChannelHandle, EventChannelTable
from xendisplback.sim.fd_store import SimFdStore
from xendisplback.sim.kernel import SimKernel
from xendisplback.sim.local_store import LocalStore
from xendisplback.sim.machine import MachineMemory, SimGrantTable
from xendisplback.sim.mapping import check_descriptors
from xendisplback.sim.store_core import StoreCore
from xendisplback.sim.store_server import StoreServer
from xendisplback.sim.store_tree import DOM0
from xendisplback.sim.toolstack import Toolstack
from xendisplback.xen.store import XenStore


class SimHost:
    """``async with`` it in the loop in which guests and toolstack shall live.

    On exit, in this order: guests stop, domains die, displays and the store's server end.
    """

    def __init__(
        self, devices: Sequence[DisplayDevice] | None = None, kernel: SimKernel | None = None
    ) -> None:
        self.devices = [DisplayDevice()] if devices is None else list(devices)
        self.kernel = SimKernel() if kernel is None else kernel
        self.memory = MachineMemory(self.kernel)
        self.channels = EventChannelTable()
        self.fds = SimFdStore(self.memory.process)
        self.core = StoreCore()
        self.domains: dict[int, Domain] = {}
        self._removed: list[DisplayDevice] = []
        self._listeners: list[ChangeListener] = []
        self._stack = AsyncExitStack()
        self._server: StoreServer | None = None
        self._toolstack: Toolstack | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def device(self) -> DisplayDevice:
        return self.devices[0]

    @property
    def toolstack(self) -> Toolstack:
        assert self._toolstack is not None, "SimHost is not entered"
        return self._toolstack

    @property
    def server(self) -> StoreServer:
        assert self._server is not None, "SimHost is not entered"
        return self._server

    async def __aenter__(self) -> SimHost:
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="xendisplback-sim-"))
            self._server = StoreServer(self.core, Path(directory))
            stack.callback(self.channels.close)
            stack.callback(self.fds.close)
            stack.callback(self._server.stop)
            self._server.start()
            stack.callback(self._stop_devices)
            for device in self.devices:
                device.start()
                device.on_change = self._on_change
            self._nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(self._nursery.cancel_scope.cancel)
            self._toolstack = Toolstack(self, LocalStore(self.core, DOM0))
            stack.callback(self._kill_domains)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._stack.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            # The nursery is ours: what the caller raised reaches it as it was.
            if group.exceptions != (error,):
                raise

    def _kill_domains(self) -> None:
        for domain in list(self.domains.values()):
            domain.die()

    # For the toolstack and tests

    def new_domain(self, domid: int) -> Domain:
        assert self._nursery is not None, "SimHost is not entered"
        domain = self.domains[domid] = Domain(
            domid,
            self.memory.create(domid),
            LocalStore(self.core, domid),
            lambda: self.channels.open(domid),
            self._nursery,
            self._bury,
        )
        return domain

    def _bury(self, domain: Domain) -> None:
        del self.domains[domain.domid]
        self.memory.destroy(domain.domid)
        self.core.release(domain.domid)

    def event_channels_open(self, domid: int) -> int:
        """Handles of the backend for ``domid`` that are not closed."""
        return self.channels.open_for(domid)

    @property
    def counts(self) -> Counts:
        calls = self.memory.calls
        for device in self.devices:
            with device.lock:
                calls.update(device.calls)
                calls["commits"] += device.commits
        return Counts(**calls)

    def add_device(self, device: DisplayDevice) -> None:
        """A display driver is bound, while everything runs."""
        self.devices.append(device)
        device.start()
        device.on_change = self._on_change
        self._on_change(device)

    def remove_device(self, device: DisplayDevice) -> None:
        """A display driver is unbound."""
        self.devices.remove(device)
        self._removed.append(device)
        device.unplug()

    def tidy(self) -> None:
        """Free what is kept for those who may be about to use it; nobody is, of what ended before."""
        self.channels.close_buried()
        while self._removed:
            self._removed.pop().stop()

    def _stop_devices(self) -> None:
        for device in (*self.devices, *self._removed):
            device.stop()

    def _on_change(self, device: DisplayDevice) -> None:
        for listener in self._listeners:
            listener.tell(DisplayChange(device.path, device.gone))

    def stop_store(self) -> None:
        """xenstored is killed."""
        self.server.stop()

    # For the daemon

    def fd_store(self) -> SimFdStore:
        return self.fds

    def domain_facts(self) -> DomainFacts:
        return DomainFacts(self.kernel.pv, self.kernel.direct_mapped)

    def store(self) -> AbstractAsyncContextManager[XenStore]:
        return XenStore.connect(str(self.server.socket_path(DOM0)))

    def grant_table(self) -> SimGrantTable:
        return SimGrantTable(self.memory, DOM0)

    def event_channels(self, domid: int) -> EventChannelHandle:
        check_descriptors(2, "xenevtchn_open")
        return self.channels.open(DOM0, restricted_to=domid)

    @asynccontextmanager
    async def display_changes(self) -> AsyncGenerator[AsyncIterator[DisplayChange], None]:
        listener = ChangeListener()
        self._listeners.append(listener)
        try:
            yield listener.changes()
        finally:
            self._listeners.remove(listener)
            listener.close()

    def open_lease(self, fd: int, name: str) -> Card:
        os.close(fd)
        raise HostError("not a DRM lease", path=f"lease:{name}", errno=errno.ENODEV)

    def open_cards(
        self,
        selectors: Iterable[str],
        held: Iterable[str] = (),
        kept: Mapping[str, KeptCard] = NONE_KEPT,
    ) -> tuple[list[Card], list[HostError]]:
        chosen, passed = list(selectors), set(held)
        cards: list[Card] = []
        errors: list[HostError] = []
        for device in self.devices:
            if device.path in passed:
                continue
            if chosen and not any(device.matches(selector) for selector in chosen):
                continue
            try:
                over = device.path in kept
                cards.append(SimCard(device, self.memory.dmabufs, take_over=over))
            except HostError as error:
                errors.append(error)
        return cards, errors
