# SPDX-License-Identifier: GPL-2.0-or-later
"""The requests that may wait: buffers, framebuffers, configuration, EDID.

Each has taken its full effect when its response is written: Linux frees and reuses memory on the word of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

import trio

from xendisplback.errors import HostError
from xendisplback.frontend.allocation import Allocator
from xendisplback.frontend.budget import OverBudget
from xendisplback.frontend.buffers import BufferTable
from xendisplback.frontend.channel import Channel
from xendisplback.frontend.grants import DomainGrants
from xendisplback.frontend.journal import (
    JournalMismatch,
    KeptBuffer,
    KeptConnector,
    KeptFlip,
)
from xendisplback.frontend.memory import BufferMemory, GrantedMemory, GuestMemory
from xendisplback.protocol.directory import DirectoryFill, DirectoryWalk
from xendisplback.protocol.displif import (
    REQ_ALLOC,
    DbufCreate,
    DbufDestroy,
    FbAttach,
    FbDetach,
    GetEdid,
    PgFlip,
    Request,
    SetConfig,
    encode_response,
)
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import PAGE, check_create, pages_needed
from xendisplback.protocol.status import Status, response_status
from xendisplback.scanout.frame import Crop
from xendisplback.scanout.ladder import Step
from xendisplback.scanout.permission import Permission
from xendisplback.scanout.source import Source
from xendisplback.scanout.ways import REQUEST_SECONDS
from xendisplback.xen.shared_memory import read_memory, write_memory


class RequestHandler:
    """The slow requests of one connection, one at a time over all its channels."""

    def __init__(
        self,
        domid: int,
        permission: Permission,
        allocator: Allocator,
        grants: DomainGrants,
        buffers: BufferTable,
    ) -> None:
        self.sources: list[Source] = []
        """Of all channels."""
        self._domid = domid
        self._permission = permission
        self._grants = grants
        self._allocator = allocator
        self.buffers = buffers
        self._lock = trio.Lock()

    async def handle(self, channel: Channel, request: Request) -> bytes:
        """Do what ``request`` asks; returns the response."""
        status = edid_size = 0
        async with self._lock:
            try:
                match request:
                    case DbufCreate():
                        await self._create(channel, request)
                    case DbufDestroy():
                        await self._destroy(channel, request)
                    case FbAttach():
                        self.buffers.attach(request)
                    case FbDetach():
                        await self._forget(request.fb_cookie)
                    case SetConfig():
                        await self._configure(channel, request)
                    case PgFlip():
                        await self._flip(channel, request)
                    case GetEdid():
                        edid_size = await self._edid(channel, request)
            except OverBudget as error:
                if not error.known:
                    channel.log.warning("%s: %s", request.OPERATION.name, error)
                status = -error.status
            except RequestError as error:
                channel.log.guest_fault(str(error))
                status = -error.status
            except HostError as error:
                channel.log.error("%s: %s", request.OPERATION.name, error)
                status = response_status(error.errno or Status.EIO)
        return encode_response(request.request_id, request.OPERATION, status, edid_size)

    async def _read_directory(self, first_ref: int, pages: int, deadline: float) -> Sequence[int]:
        """The references of the ``pages`` pages that the directory at ``first_ref`` names."""
        walk = DirectoryWalk(first_ref, pages)
        while walk.next_page is not None:
            directory = await self._grants.map([walk.next_page], deadline, writable=False)
            try:
                # One copy, then only the copy: the guest can write the page while we read it.
                page = read_memory(directory.address, PAGE)
            finally:
                directory.close()
            walk.feed(page)
        return walk.grefs

    async def _fill_directory(self, first_ref: int, refs: Sequence[int]) -> None:
        """Write ``refs``, and nothing else, into the guest's directory."""
        deadline = trio.current_time() + REQUEST_SECONDS
        fill = DirectoryFill(first_ref, refs)
        while fill.next_page is not None:
            directory = await self._grants.map([fill.next_page], deadline, writable=True)
            try:
                listed = fill.feed(read_memory(directory.address, PAGE))
                write_memory(directory.address + fill.FIRST, listed)
            finally:
                directory.close()

    async def _create(self, channel: Channel, request: DbufCreate) -> None:
        pages = check_create(request)
        self.buffers.check_new(request)
        with self.buffers.room():
            if request.flags & REQ_ALLOC:
                memory: BufferMemory = await self._allocate(request, channel.source)
            else:
                memory = await self._hold(request, pages, channel.source)
            self.buffers.add(request, memory)

    async def _allocate(self, request: DbufCreate, source: Source) -> GrantedMemory:
        if not self._permission.be_alloc:
            raise RequestError(
                Status.EACCES, f"DBUF_CREATE: be-alloc = false in {self._permission.source}"
            )
        outputs = source.outputs
        card = outputs[0].card if outputs else None
        memory = await self._allocator.allocate(self._domid, request, card)
        try:
            await self._fill_directory(request.gref_directory, memory.refs)
        except BaseException:
            memory.close()
            raise
        return memory

    async def _hold(self, request: DbufCreate, pages: int, source: Source) -> GuestMemory:
        """Map or export the guest's pages, in the way that they will likely be shown in.

        From the response on the guest counts on it that we have them.
        """
        deadline = trio.current_time() + REQUEST_SECONDS
        refs = await self._read_directory(request.gref_directory, pages, deadline)
        memory = GuestMemory(self._grants, refs, request.shape)
        if not self._permission.zero_copy:
            memory.only_copied(f"zero-copy = false in {self._permission.source}")
        outputs = source.outputs
        if not outputs:
            await memory.address(deadline)
            return memory
        climb = source.ladder(outputs[0]).climb(memory.steps, memory.shape, refused=memory.refused)
        while climb.step is not Step.COPY:
            try:
                lease = await memory.dmabuf(climb.step, deadline)
            except HostError as error:
                climb.refuse(error)
            else:
                lease.release()
                return memory
        await memory.address(deadline)
        return memory

    async def _destroy(self, channel: Channel, request: DbufDestroy) -> None:
        buffer = self.buffers.buffer(request.dbuf_cookie)
        if buffer.frames:
            channel.log.guest_fault(
                f"DBUF_DESTROY of {request.dbuf_cookie:#x} with {len(buffer.frames)} framebuffers"
                " attached: detached first"
            )
        for fb_cookie in list(buffer.frames):
            await self._forget(fb_cookie)
        self.buffers.remove(request.dbuf_cookie)
        # Nobody else knows it any more: a connection that ends must not cut this short.
        with trio.CancelScope(shield=True):
            await _close([buffer.memory])

    async def _forget(self, fb_cookie: int) -> None:
        """Take a framebuffer out of the table and off every output of this guest. Raises RequestError ENOENT."""
        # First out of the table: a flip on another channel must not find it while we wait.
        frame = self.buffers.detach(fb_cookie)
        for source in self.sources:
            await source.forget(frame)

    async def show_otherwise(self, channel: Channel, request: PgFlip, error: HostError) -> None:
        """The card refused a flip that was answered already."""
        async with self._lock:
            try:
                frame = self.buffers.frame(request.fb_cookie)
            except RequestError:
                # Detached on another channel meanwhile.
                return
            await channel.source.show_otherwise(frame, error)

    async def _configure(self, channel: Channel, request: SetConfig) -> None:
        if request.disables:
            await channel.source.disable()
            channel.note_flip(0)
            channel.log.info("off")
            return
        frame = self.buffers.frame(request.fb_cookie)
        # Linux sends the framebuffer's size, which may exceed the connector's resolution.
        crop = Crop(
            request.x,
            request.y,
            min(request.width, channel.nodes.width),
            min(request.height, channel.nodes.height),
        )
        if not crop.inside(frame.layout) or not crop.width or not crop.height:
            raise RequestError(
                Status.EINVAL,
                f"SET_CONFIG: {request.width}x{request.height} at {request.x},{request.y} is not inside"
                f" the {frame.layout.width}x{frame.layout.height} framebuffer",
            )
        await channel.source.configure(frame, crop)
        channel.note_flip(0)

    async def _flip(self, channel: Channel, request: PgFlip) -> None:
        """A flip that takes more: the framebuffer's first one, or one that is too small."""
        frame = self.buffers.frame(request.fb_cookie)
        crop = channel.source.crop
        if crop is None or not crop.inside(frame.layout):
            raise RequestError(
                Status.EINVAL,
                f"PG_FLIP: the {frame.layout.width}x{frame.layout.height} framebuffer does not hold"
                " what SET_CONFIG set",
            )
        await channel.source.flip(frame)
        channel.note_flip(request.fb_cookie)
        channel.send_flip_event(request.fb_cookie)

    async def _edid(self, channel: Channel, request: GetEdid) -> int:
        edid = await channel.source.edid(channel.nodes.width, channel.nodes.height)
        if len(edid) > request.buffer_sz:
            raise RequestError(
                Status.ENOSPC, f"GET_EDID: {request.buffer_sz} bytes for an EDID of {len(edid)}"
            )
        # Only what is written: buffer_sz can claim 4 GiB, and these grants are in nobody's budget.
        pages = pages_needed(len(edid))
        deadline = trio.current_time() + REQUEST_SECONDS
        refs = await self._read_directory(request.gref_directory, pages, deadline)
        mapping = await self._grants.map(refs, deadline, writable=True)
        try:
            write_memory(mapping.address, edid)
        finally:
            # No thread: a connection that ends would not wait for it.
            mapping.close()
        return len(edid)

    # Over the end of a process

    def kept_buffers(self) -> list[KeptBuffer]:
        return [
            KeptBuffer(buffer.create, buffer.memory.checksum, list(buffer.attached.values()))
            for buffer in self.buffers.all
        ]

    def kept_connectors(self, channels: Sequence[Channel]) -> list[KeptConnector]:
        kept: list[KeptConnector] = []
        for channel in channels:
            frame, crop = channel.source.wanted
            kept.append(
                KeptConnector(0 if frame is None else frame.cookie, crop, *channel.last_response)
            )
        return kept

    async def take_over_buffer(self, kept: KeptBuffer, channel: Channel) -> None:
        """The guest still grants it. Raises RequestError, HostError, JournalMismatch."""
        create = kept.create
        pages = check_create(create)
        outputs = channel.source.outputs
        card = outputs[0].card if outputs else None
        with self.buffers.room():
            if create.flags & REQ_ALLOC:
                memory: BufferMemory = await self._allocator.take_over(
                    self._domid, create, kept.checksum, card
                )
            else:
                memory = await self._hold(create, pages, channel.source)
            self.buffers.add(create, memory)
        if memory.checksum != kept.checksum:
            raise JournalMismatch(f"buffer {create.dbuf_cookie:#x} has other pages than before")
        for attach in kept.frames:
            self.buffers.attach(attach)

    async def take_over_connector(
        self, channel: Channel, kept: KeptConnector, flip: KeptFlip
    ) -> None:
        """Show what the guest wants to see. As :meth:`take_over_buffer`."""
        if kept.fb_cookie and kept.crop is not None:
            frame = self.buffers.frame(flip.fb_cookie or kept.fb_cookie)
            await channel.source.configure(frame, kept.crop)
        # Who asks for another has given up waiting for the last one, and would take its event for this one's.
        if flip.event_owed and not channel.flip_asked:
            channel.send_flip_event(flip.fb_cookie)
        channel.take_over(kept.response_number, kept.response)

    async def release(self) -> None:
        """Off all outputs, then release every buffer. Outputs first: they read the memory."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(_close, self.buffers.clear())
            for source in self.sources:
                stack.push_async_callback(source.release)


async def _close(memories: Sequence[BufferMemory]) -> None:
    """All of them, whatever one of them raises."""

    def close() -> None:
        with ExitStack() as stack:
            for memory in memories:
                stack.callback(memory.close)

    if memories:
        await trio.to_thread.run_sync(close)
