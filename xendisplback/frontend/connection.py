# SPDX-License-Identifier: GPL-2.0-or-later
"""A connected frontend: its rings and event channels, from the guest's Initialised to the release.

Closed in this order, because each reads what comes after it: outputs (they read the guest's buffers and send
events), buffers, event channels, ring pages.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import trio

from xendisplback.frontend.backend import Backend
from xendisplback.frontend.buffers import BufferTable
from xendisplback.frontend.channel import Channel, Drained, Port
from xendisplback.frontend.device import Device, GuestLog
from xendisplback.frontend.nodes import ConnectorNodes, FrontendNodes
from xendisplback.frontend.requests import RequestHandler
from xendisplback.host import EventChannels, GrantMapping
from xendisplback.protocol.displif import Request
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.output import REQUEST_SECONDS
from xendisplback.xen.gnttab import DomainGrants

logger = logging.getLogger(__name__)

RELEASE_SECONDS = 10.0
"""How long a release may take; libxl gives a backend as much."""


class Connection:
    """Made by :func:`connect`."""

    def __init__(
        self,
        device: Device,
        nodes: FrontendNodes,
        pages: Sequence[tuple[GrantMapping, GrantMapping]],
        events: EventChannels,
        handler: RequestHandler,
        buffers: BufferTable,
        nursery: trio.Nursery,
    ) -> None:
        self._events = events
        self._handler = handler
        self._nursery = nursery
        self.failure: Exception | None = None
        """What :meth:`fail` was called with."""
        self._again: list[Channel] = []
        self.channels: list[Channel] = []
        self._by_port: dict[int, Channel] = {}
        screen = DarkScreen(nursery)
        for connector, (request_page, event_page) in zip(nodes.connectors, pages, strict=True):
            rings = (
                Port(request_page, events.bind(connector.request_channel)),
                Port(event_page, events.bind(connector.event_channel)),
            )
            log = GuestLog(logger, f"{device} connector {connector.index}")
            channel = Channel(
                connector,
                nodes.version,
                rings,
                events,
                buffers,
                DarkScreen(nursery) if connector.index else screen,
                log,
                self._start_slow,
                self.fail,
            )
            self.channels.append(channel)
            self._by_port[channel.request_port.port] = channel

    def fail(self, error: Exception) -> None:
        """End :meth:`serve` with ``error``."""
        self.failure = self.failure or error
        self._nursery.cancel_scope.cancel()

    async def serve(self) -> None:
        """Answer the guest until cancelled. Raises what ended it: ProtocolViolation, HostError, a bug."""
        events = self._events
        while True:
            if self._again:
                await trio.lowlevel.checkpoint()
                ready, self._again = self._again, []
            else:
                await trio.lowlevel.wait_readable(events.fd)
                ready = []
            unmask = [channel.request_port.port for channel in ready if self._drain(channel)]
            for port in events.pending():
                channel = self._by_port.get(port)
                # A port without a channel is an event ring's: the guest tells nothing by it.
                if channel is None or self._drain(channel):
                    unmask.append(port)
            if unmask:
                events.unmask(unmask)

    def _drain(self, channel: Channel) -> bool:
        """Whether the channel's port may be unmasked."""
        drained = channel.drain()
        if drained is Drained.MORE:
            self._again.append(channel)
        return drained is Drained.EMPTY

    def _start_slow(self, channel: Channel, request: Request) -> None:
        self._nursery.start_soon(self._slow, channel, request)

    async def _slow(self, channel: Channel, request: Request) -> None:
        """Task: one slow request, then whatever the channel received meanwhile."""
        channel.answer(await self._handler.handle(channel, request))
        while (drained := channel.drain()) is Drained.MORE:
            await trio.lowlevel.checkpoint()
        if drained is Drained.EMPTY:
            self._events.unmask([channel.request_port.port])


async def _map_pages(
    grants: DomainGrants, connectors: Sequence[ConnectorNodes]
) -> list[tuple[GrantMapping, GrantMapping]]:
    deadline = trio.current_time() + REQUEST_SECONDS
    mapped: list[GrantMapping] = []
    try:
        for connector in connectors:
            for ref in (connector.request_ring_ref, connector.event_ring_ref):
                mapped.append(await grants.map([ref], deadline, writable=True))
    except BaseException:
        for mapping in mapped:
            mapping.close()
        raise
    return list(zip(mapped[::2], mapped[1::2], strict=True))


@asynccontextmanager
async def connect(
    backend: Backend, grants: DomainGrants, device: Device, nodes: FrontendNodes
) -> AsyncGenerator[Connection, None]:
    """A connection that serves nobody yet; released on exit, within ``RELEASE_SECONDS``."""
    buffers = BufferTable()
    handler = RequestHandler(device, backend, grants, buffers)
    channels: list[Channel] = []
    pages = await _map_pages(grants, nodes.connectors)
    try:
        events = backend.host.event_channels(device.domid)
        try:
            async with trio.open_nursery() as nursery:
                connection = Connection(device, nodes, pages, events, handler, buffers, nursery)
                channels = connection.channels
                yield connection
                nursery.cancel_scope.cancel()
            if connection.failure is not None:
                raise connection.failure
        finally:
            try:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + RELEASE_SECONDS):
                    await handler.release()
            finally:
                events.close()
                for channel in channels:
                    channel.log.info("closed after %d flips", channel.flips)
    finally:
        for request_page, event_page in pages:
            request_page.close()
            event_page.close()
