# SPDX-License-Identifier: GPL-2.0-or-later
"""A connected frontend: its channels, from the guest's Initialised to the release.

Closed in this order, because each uses what comes after it: the channels' threads (they begin flips), outputs
(they read the guest's buffers and send events), buffers, channels and their event channels, ring pages.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager

import trio

from xendisplback.errors import HostError
from xendisplback.frontend.backend import Backend
from xendisplback.frontend.buffers import BufferTable
from xendisplback.frontend.channel import Channel
from xendisplback.frontend.device import Device, GuestLog
from xendisplback.frontend.nodes import ConnectorNodes, FrontendNodes
from xendisplback.frontend.requests import RequestHandler
from xendisplback.host import EventChannels, GrantMapping
from xendisplback.protocol.displif import PgFlip, Request
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.flips import new_eventfd
from xendisplback.scanout.layout import GuestName
from xendisplback.scanout.ways import REQUEST_SECONDS
from xendisplback.xen.gnttab import DomainGrants

logger = logging.getLogger(__name__)

RELEASE_SECONDS = 25.0
"""How long a release may take. What is not off the screen by then stays mapped until we end, so this outlasts a
card that hangs: the kernel's commits wait 10 s for the flip before them."""

Pages = tuple[GrantMapping, GrantMapping]
"""Of one connector: for requests, for events."""


class Connection:
    """Made by :func:`connect`."""

    def __init__(self, handler: RequestHandler, attention_fd: int, nursery: trio.Nursery) -> None:
        """``attention_fd``: what the channels, which are added by then, make readable."""
        self.channels: list[Channel] = []
        self._handler = handler
        self._attention_fd = attention_fd
        self._nursery = nursery

    async def serve(self) -> None:
        """Answer the guest until cancelled. Raises what ended it: ProtocolViolation, HostError, a bug."""
        for channel in self.channels:
            channel.start()
        while True:
            await trio.lowlevel.wait_readable(self._attention_fd)
            os.eventfd_read(self._attention_fd)
            for channel in self.channels:
                channel.attend()

    # What the channels call

    def slow(self, channel: Channel, request: Request) -> None:
        self._nursery.start_soon(self._answer, channel, request)

    async def _answer(self, channel: Channel, request: Request) -> None:
        channel.answer(await self._handler.handle(channel, request))
        channel.resume()

    def flip_refused(self, channel: Channel, request: PgFlip, error: HostError) -> None:
        self._nursery.start_soon(self._show_otherwise, channel, request, error)

    async def _show_otherwise(self, channel: Channel, request: PgFlip, error: HostError) -> None:
        await self._handler.show_otherwise(channel, request, error)
        channel.send_flip_event(request.fb_cookie)
        channel.resume()

    def refresh_refused(self, channel: Channel, error: HostError) -> None:
        self._nursery.start_soon(self._then_resume, channel, channel.source.refresh_refused, error)

    def stuck(self, channel: Channel) -> None:
        self._nursery.start_soon(self._then_resume, channel, channel.source.give_up)

    async def _then_resume(
        self, channel: Channel, work: Callable[..., Awaitable[None]], *arguments: object
    ) -> None:
        await work(*arguments)
        channel.resume()


async def _map_pages(
    grants: DomainGrants, connectors: Sequence[ConnectorNodes], stack: ExitStack
) -> list[Pages]:
    deadline = trio.current_time() + REQUEST_SECONDS

    async def page(ref: int) -> GrantMapping:
        mapping = await grants.map([ref], deadline, writable=True)
        stack.callback(mapping.close)
        return mapping

    return [
        (await page(connector.request_ring_ref), await page(connector.event_ring_ref))
        for connector in connectors
    ]


def _open_events(
    backend: Backend, domid: int, nodes: FrontendNodes, stack: ExitStack
) -> list[EventChannels]:
    """One handle for each connector: its thread then reads no other one's ports."""
    handles: list[EventChannels] = []
    for _ in nodes.connectors:
        handles.append(backend.host.event_channels(domid))
        stack.callback(handles[-1].close)
    return handles


@asynccontextmanager
async def connect(
    backend: Backend,
    grants: DomainGrants,
    device: Device,
    domain_name: str,
    nodes: FrontendNodes,
) -> AsyncGenerator[Connection, None]:
    """A connection that serves nobody yet; released on exit, within ``RELEASE_SECONDS``."""
    buffers = BufferTable()
    handler = RequestHandler(device.domid, backend.allocator, grants, buffers)
    with ExitStack() as stack:
        pages = await _map_pages(grants, nodes.connectors, stack)
        events = _open_events(backend, device.domid, nodes, stack)
        attention_fd = new_eventfd()
        stack.callback(os.close, attention_fd)
        channels: list[Channel] = []
        try:
            async with trio.open_nursery() as nursery:
                connection = Connection(handler, attention_fd, nursery)
                channels = connection.channels
                for connector, own_pages, own_events in zip(
                    nodes.connectors, pages, events, strict=True
                ):
                    log = GuestLog(logger, f"{device} connector {connector.index}")
                    name = GuestName(domain_name, device.index, connector.index)
                    source = backend.outputs.source(
                        name, connector.output, DarkScreen(nursery), log
                    )
                    stack.callback(source.scanout.close)
                    handler.sources.append(source)
                    channel = Channel(
                        *(connector, nodes.version, own_pages, own_events, attention_fd),
                        *(buffers, source, log, connection),
                    )
                    stack.callback(channel.close)
                    channels.append(channel)
                yield connection
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + RELEASE_SECONDS):
                await trio.to_thread.run_sync(_stop, channels)
                await handler.release()
            for channel in channels:
                channel.log.info(
                    "closed after %d flips; %d pictures were copied",
                    *(channel.flip_events, channel.source.scanout.copies),
                )


def _stop(channels: Sequence[Channel]) -> None:
    for channel in channels:
        channel.stop()
