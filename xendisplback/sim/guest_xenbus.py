# SPDX-License-Identifier: GPL-2.0-or-later
"""A frontend's XenBus states and its event channels, as Linux's xenbus and xen_drm_front drive them.

What matters to a backend: InitWait is ignored at Initialised and tears a connected device down; Closing of the
backend is ignored; Closed or nothing unplugs the device, after which the frontend is at Initialising and sends no
FB_DETACH or DBUF_DESTROY. A state node that is gone is not written again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import trio

from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.event_channels import EventChannelHandle
from xendisplback.sim.front_ring import FrontEvents, FrontRing
from xendisplback.sim.guest_channel import Display
from xendisplback.sim.local_store import LocalStore, Nodes
from xendisplback.sim.memory import GuestMemory
from xendisplback.sim.store_tree import StoreError

MAX_CONNECTORS = 4
UNLOAD_SECONDS = 1.0
SHUTDOWN_SECONDS = 5.0


class XenbusFrontend(ABC):
    """Base of :class:`~xendisplback.sim.guest.Guest`, which has the buffers."""

    def __init__(
        self,
        path: str,
        store: LocalStore,
        memory: GuestMemory,
        channels: EventChannelHandle,
        nursery: trio.Nursery,
    ) -> None:
        self.path = path
        self.store = store
        self.memory = memory
        self.backend_path = store.get(f"{path}/backend") or ""
        self.backend_domid = int(store.get(f"{path}/backend-id") or "0")
        self.state = XenbusState.Initialising
        """As we wrote it last."""
        self.backend_state = XenbusState.Unknown
        self.displays: list[Display] = []
        """Of the present connection, one for each connector."""
        self.be_alloc = False
        """As the toolstack says; read with the connectors."""
        self._users = 0
        self._channels = channels
        self._nursery = nursery
        self._loaded = False
        self._drm = False
        self._news = trio.Event()
        self._changed = trio.Event()
        self._thawed = trio.Event()
        self._thawed.set()
        self._scope = trio.CancelScope()
        self._shutting_down = False

    # Life

    def start(self) -> None:
        """Boot: the driver is loaded and probes the device."""
        self._nursery.start_soon(self._run)

    def stop(self) -> None:
        """No instruction of this guest is executed any more; who waits for an answer gets EIO."""
        self._scope.cancel()
        for display in self.displays:
            display.disconnect()

    def freeze(self) -> None:
        """Handle neither events nor XenBus until :meth:`thaw`."""
        self._thawed = trio.Event()

    def thaw(self) -> None:
        self._thawed.set()

    async def load(self) -> None:
        """modprobe, after :meth:`unload`."""
        self._switch_state(XenbusState.Initialising)
        self._loaded = True
        self._changed.set()

    async def unload(self) -> bool:
        """rmmod; whether the backend came to InitWait in time."""
        self._loaded = False
        self._switch_state(XenbusState.Closing)
        seen = False
        with trio.move_on_after(UNLOAD_SECONDS):
            while not seen:
                seen = self._read_backend_state() is XenbusState.InitWait
                if not seen:
                    await trio.sleep(0.01)
        self._unplug()
        self._switch_state(XenbusState.Closed)
        return seen

    async def shutdown(self) -> bool:
        """The system goes down; whether it saw the backend close within the 5 s that it waits."""
        self._shutting_down = True
        self._switch_state(XenbusState.Closing)
        closing = (XenbusState.Closing, XenbusState.Closed)
        with trio.move_on_after(SHUTDOWN_SECONDS) as scope:
            while self.backend_state not in closing:
                await self._news.wait()
            self._switch_state(XenbusState.Closed)
        return not scope.cancelled_caught

    # States

    async def wait_state(self, state: XenbusState) -> None:
        while self.state is not state:
            await self._news.wait()

    async def wait_backend(self, state: XenbusState) -> None:
        while self.backend_state is not state:
            await self._news.wait()

    async def connected(self) -> None:
        await self.wait_state(XenbusState.Connected)

    async def unplugged(self) -> None:
        """Until there is no DRM device (any more)."""
        while self._drm:
            await self._news.wait()

    def write_state(self, text: str) -> None:
        """Forge the state node."""
        self.store.write(f"{self.path}/state", text)

    def _tell(self) -> None:
        news, self._news = self._news, trio.Event()
        news.set()

    def _switch_state(self, state: XenbusState) -> None:
        def body(nodes: Nodes) -> None:
            if nodes.get(f"{self.path}/state") is not None:
                nodes.write(f"{self.path}/state", str(int(state)))

        self.store.transact(body)
        self.state = state
        self._tell()

    def _read_backend_state(self) -> XenbusState:
        """Unknown where it can't be read, as xenbus_read_driver_state() says."""
        try:
            text = self.store.get(f"{self.backend_path}/state")
        except StoreError:
            # The store tells a guest EACCES, not ENOENT, of a removed node that it could not see anyway.
            text = None
        return XenbusState(int(text)) if text else XenbusState.Unknown

    def _on_backend_change(self) -> None:
        self.backend_state = self._read_backend_state()
        self._changed.set()
        self._tell()

    async def _run(self) -> None:
        """Task: the frontend's whole life."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_events)
                await self.load()
                with self.store.watch(f"{self.backend_path}/state", self._on_backend_change):
                    while True:
                        await self._changed.wait()
                        await self._thawed.wait()
                        self._changed = trio.Event()
                        if self._loaded and not self._shutting_down:
                            self._backend_changed(self._read_backend_state())

    def _backend_changed(self, backend: XenbusState) -> None:
        reconfiguring = self.state is XenbusState.Reconfiguring
        match backend:
            case XenbusState.Initialising if not reconfiguring:
                self._disconnect()
            case XenbusState.InitWait if not reconfiguring:
                self._disconnect()
                if self.state is XenbusState.Initialising:
                    self._publish()
                    self._switch_state(XenbusState.Initialised)
            case XenbusState.Connected if self.state is XenbusState.Initialised:
                self._drm = True
                self._switch_state(XenbusState.Connected)
            case XenbusState.Unknown | XenbusState.Closed if self.state is not XenbusState.Closed:
                self._disconnect()
            case _:
                pass

    def _disconnect(self) -> None:
        if self._drm:
            self._switch_state(XenbusState.Reconfiguring)
            self._unplug()

    def _unplug(self) -> None:
        """The DRM device goes: rings first, then buffers, without a word to the backend."""
        if not self._drm:
            return
        self._drm = False
        displays, self.displays = self.displays, []
        for display in displays:
            display.close()
        self.free_buffers()
        if self.be_alloc and self._users:
            # xen_drm_drv_release() says so when the last user has closed it.
            self._tell()
        else:
            self._switch_state(XenbusState.Initialising)

    def open_device(self) -> None:
        """A program of the guest opens the DRM device, until :meth:`close_device`."""
        self._users += 1

    def close_device(self) -> None:
        self._users -= 1
        if not self._users and not self._drm and self.state is XenbusState.Reconfiguring:
            self._switch_state(XenbusState.Initialising)

    @abstractmethod
    def free_buffers(self) -> None:
        """End every buffer's grants."""

    def _publish(self) -> None:
        """Rings and ports for every connector, in one transaction."""
        self.be_alloc = self.store.get(f"{self.path}/be-alloc") == "1"
        for display in self.displays:
            display.close()
        self.displays = []
        for index in range(MAX_CONNECTORS):
            if self.store.get(f"{self.path}/{index}/resolution") is None:
                break
            arguments = (self.memory, self._channels, self.backend_domid)
            self.displays.append(Display(index, FrontRing(*arguments), FrontEvents(*arguments)))

        def body(nodes: Nodes) -> None:
            for display in self.displays:
                path = f"{self.path}/{display.index}"
                nodes.write(f"{path}/req-ring-ref", str(display.requests.ref))
                nodes.write(f"{path}/req-event-channel", str(display.requests.port))
                nodes.write(f"{path}/evt-ring-ref", str(display.events.ref))
                nodes.write(f"{path}/evt-event-channel", str(display.events.port))

        self.store.transact(body)

    # Event channels

    async def _serve_events(self) -> None:
        """Task: the guest's interrupts."""
        while True:
            await trio.lowlevel.wait_readable(self._channels.fd)
            await self._thawed.wait()
            port = self._channels.pending()
            if port is None:
                continue
            for display in self.displays:
                # Only these: a port may have been closed since it raised the event.
                if port == display.requests.port:
                    display.channel.on_event()
                    self._channels.unmask(port)
                elif port == display.events.port:
                    display.on_event()
                    self._channels.unmask(port)
