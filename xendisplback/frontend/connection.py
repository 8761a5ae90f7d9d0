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
from xendisplback.frontend.budget import Kind, Pace
from xendisplback.frontend.buffers import BufferTable
from xendisplback.frontend.channel import Channel
from xendisplback.frontend.device import Device, GuestLines, GuestLog
from xendisplback.frontend.grants import DomainGrants
from xendisplback.frontend.journal import (
    FORMAT,
    Journal,
    JournalMismatch,
    KeptConnection,
    KeptFlip,
)
from xendisplback.frontend.nodes import ConnectorNodes, FrontendNodes
from xendisplback.frontend.report import describe_buffers, describe_connector
from xendisplback.frontend.requests import RequestHandler
from xendisplback.host import EventChannels, GrantMapping
from xendisplback.kept import guest_name
from xendisplback.protocol.displif import PgFlip, Request
from xendisplback.scanout.dark import DarkScreen
from xendisplback.scanout.flips import new_eventfd
from xendisplback.scanout.layout import GuestName
from xendisplback.scanout.permission import Permission
from xendisplback.scanout.ways import REQUEST_SECONDS

logger = logging.getLogger(__name__)

RELEASE_SECONDS = 25.0
"""How long a release may take. What is not off the screen by then stays mapped until we end, so this outlasts a
card that hangs: the kernel's commits wait 10 s for the flip before them."""

Pages = tuple[GrantMapping, GrantMapping]
"""Of one connector: for requests, for events."""


class Connection:
    """Made by :func:`connect`."""

    def __init__(
        self,
        nodes: FrontendNodes,
        handler: RequestHandler,
        journal: Journal,
        pace: Pace,
        attention_fd: int,
        nursery: trio.Nursery,
    ) -> None:
        """``attention_fd``: what the channels, which are added by then, make readable."""
        self.channels: list[Channel] = []
        self._nodes = nodes
        self._pace = pace
        self._slowed = False
        self._handler = handler
        self._journal = journal
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
                if channel.attend() and (delay := self._pace.take()):
                    self._say_slowed()
                    # Flips go on: they are C's.
                    await trio.sleep(delay)

    def _say_slowed(self) -> None:
        if not self._slowed:
            self._slowed = True
            self.channels[0].log.warning(
                "more requests than requests-per-second in [budget] allows: slowed down"
            )

    def describe(self) -> dict[str, object]:
        """For the operator."""
        return {
            "version": self._nodes.version,
            "connector": [describe_connector(channel) for channel in self.channels],
            "buffer": describe_buffers(self._handler.buffers.all),
        }

    # The journal

    def note(self) -> None:
        """Write down what a next process needs."""
        self._journal.write(
            KeptConnection(
                FORMAT,
                self._nodes,
                self._handler.kept_buffers(),
                self._handler.kept_connectors(self.channels),
            )
        )

    async def take_over(self, kept: KeptConnection, flips: Sequence[KeptFlip]) -> None:
        """Go on where an earlier process ended. Raises JournalMismatch, RequestError, HostError."""
        for buffer in kept.buffers:
            await self._handler.take_over_buffer(buffer, self.channels[0])
        for channel, connector, flip in zip(self.channels, kept.connectors, flips, strict=True):
            await self._handler.take_over_connector(channel, connector, flip)

    # What the channels call

    def slow(self, channel: Channel, request: Request) -> None:
        self._nursery.start_soon(self._answer, channel, request)

    async def _answer(self, channel: Channel, request: Request) -> None:
        response = await self._handler.handle(channel, request)
        channel.will_answer(response)
        self.note()
        channel.answer(response)
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
    permission: Permission,
    nodes: FrontendNodes,
    earlier: Journal | None,
    lines: GuestLines,
) -> AsyncGenerator[Connection, None]:
    """A connection that serves nobody yet; released on exit, within ``RELEASE_SECONDS``.

    ``earlier``: an earlier process's journal, the caller's; the connection is taken over from it. Raises
    JournalMismatch and what :func:`connect` raises otherwise, where that can't be.
    """
    budget = backend.budgets.of(device.domid)
    buffers = BufferTable(budget)
    handler = RequestHandler(device.domid, permission, backend.allocator, grants, buffers)
    name_in_store = guest_name(device.domid, device.index)
    with ExitStack() as stack:
        budget.take(Kind.CONNECTORS, len(nodes.connectors))
        stack.callback(budget.give, Kind.CONNECTORS, len(nodes.connectors))
        journal = Journal() if earlier is None else earlier
        if earlier is None:
            stack.callback(journal.close)
        kept = _read(earlier, nodes) if earlier is not None else None
        pages = await _map_pages(grants, nodes.connectors, stack)
        # Before channels use the pages.
        flips = [journal.flip(n, *each) for n, each in enumerate(_addresses(pages))] if kept else []
        events = _open_events(backend, device.domid, nodes, stack)
        attention_fd = new_eventfd()
        stack.callback(os.close, attention_fd)
        channels: list[Channel] = []
        try:
            async with trio.open_nursery() as nursery:
                connection = Connection(
                    *(nodes, handler, journal, budget.requests),
                    *(attention_fd, nursery),
                )
                channels = connection.channels
                for connector, own_pages, own_events in zip(
                    nodes.connectors, pages, events, strict=True
                ):
                    log = GuestLog(logger, f"{device} connector {connector.index}", lines)
                    name = GuestName(domain_name, device.index, connector.index)
                    source = backend.outputs.source(
                        name, connector.output, permission, DarkScreen(nursery), log
                    )
                    stack.callback(source.scanout.close)
                    handler.sources.append(source)
                    channel = Channel(
                        *(connector, nodes.version, own_pages, own_events, attention_fd),
                        *(journal.record(len(channels)), buffers, source, log, connection),
                    )
                    stack.callback(channel.close)
                    channels.append(channel)
                if kept is None:
                    connection.note()
                    # One that could not be taken over may still be there.
                    backend.fd_store.drop(name_in_store)
                    backend.fd_store.keep(name_in_store, journal.fd)
                else:
                    # How buffers are held is a matter of the card.
                    await backend.outputs.opened()
                    await connection.take_over(kept, flips)
                yield connection
                nursery.cancel_scope.cancel()
        finally:
            # Nobody is to take over what is not whole any more.
            backend.fd_store.drop(name_in_store)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + RELEASE_SECONDS):
                await trio.to_thread.run_sync(_stop, channels)
                await handler.release()
            for channel in channels:
                channel.log.info(
                    "closed after %d flips; %d pictures were copied",
                    *(channel.flip_events, channel.source.scanout.copies),
                )


def _read(journal: Journal, nodes: FrontendNodes) -> KeptConnection:
    """Raises JournalMismatch."""
    kept = journal.read()
    if kept.nodes != nodes:
        raise JournalMismatch("the guest's nodes in XenStore have changed")
    return kept


def _addresses(pages: Sequence[Pages]) -> list[tuple[int, int]]:
    return [(requests.address, events.address) for requests, events in pages]


def _stop(channels: Sequence[Channel]) -> None:
    for channel in channels:
        channel.stop()
