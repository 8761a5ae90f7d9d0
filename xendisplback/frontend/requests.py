# SPDX-License-Identifier: GPL-2.0-or-later
"""The requests that may wait: buffers, framebuffers, configuration, EDID.

Each has taken its full effect when its response is written: Linux frees and reuses memory on the word of it.
"""

from __future__ import annotations

import trio

from xendisplback.errors import HostError
from xendisplback.frontend.buffers import BufferTable
from xendisplback.frontend.channel import Channel
from xendisplback.host import GrantMapping
from xendisplback.protocol.directory import DirectoryWalk
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
from xendisplback.scanout.copy_path import Crop
from xendisplback.scanout.output import Output
from xendisplback.scanout.outputs import Outputs
from xendisplback.xen.gnttab import DomainGrants
from xendisplback.xen.shared_page import read_memory, write_memory

MAP_SECONDS = 2.5
"""Linux gives a request 3 s, then frees the grants: what is mapped later must be undone."""


class RequestHandler:
    """The slow requests of one connection, one at a time over all its channels."""

    def __init__(
        self, name: str, grants: DomainGrants, buffers: BufferTable, outputs: Outputs
    ) -> None:
        """``name``: the device, for whom else wants its outputs."""
        self._name = name
        self._grants = grants
        self._buffers = buffers
        self._outputs = outputs
        self._lock = trio.Lock()
        self._held: list[Output] = []

    async def handle(self, channel: Channel, request: Request) -> bytes:
        """Do what ``request`` asks; returns the response."""
        status = edid_size = 0
        async with self._lock:
            try:
                match request:
                    case DbufCreate():
                        await self._create(request)
                    case DbufDestroy():
                        await self._destroy(channel, request)
                    case FbAttach():
                        self._buffers.attach(request)
                    case FbDetach():
                        await self._forget(request.fb_cookie)
                    case SetConfig():
                        await self._configure(channel, request)
                    case PgFlip():
                        await self._flip(channel, request)
                    case GetEdid():
                        edid_size = await self._edid(channel, request)
            except RequestError as error:
                channel.log.guest_fault(str(error))
                status = -error.status
            except HostError as error:
                channel.log.error("%s: %s", request.OPERATION.name, error)
                status = response_status(error.errno or Status.EIO)
        return encode_response(request.request_id, request.OPERATION, status, edid_size)

    async def _map_directory(self, first_ref: int, pages: int, *, writable: bool) -> GrantMapping:
        """Map the ``pages`` pages that the directory at ``first_ref`` names, all before one deadline."""
        deadline = trio.current_time() + MAP_SECONDS
        walk = DirectoryWalk(first_ref, pages)
        while walk.next_page is not None:
            directory = await self._grants.map([walk.next_page], deadline, writable=False)
            try:
                # One copy, then only the copy: the guest can write the page while we read it.
                page = read_memory(directory.address, PAGE)
            finally:
                directory.close()
            walk.feed(page)
        return await self._grants.map(walk.grefs, deadline, writable=writable)

    async def _create(self, request: DbufCreate) -> None:
        pages = check_create(request)
        if request.flags & REQ_ALLOC:
            raise RequestError(
                Status.EOPNOTSUPP, "DBUF_CREATE: be-alloc=1 is not supported; set be-alloc=0"
            )
        self._buffers.check_room(request, pages)
        mapping = await self._map_directory(request.gref_directory, pages, writable=False)
        self._buffers.add(request, mapping)

    async def _destroy(self, channel: Channel, request: DbufDestroy) -> None:
        buffer = self._buffers.buffer(request.dbuf_cookie)
        if buffer.frames:
            channel.log.guest_fault(
                f"DBUF_DESTROY of {request.dbuf_cookie:#x} with {len(buffer.frames)} framebuffers"
                " attached: detached first"
            )
        for fb_cookie in list(buffer.frames):
            await self._forget(fb_cookie)
        self._buffers.remove(request.dbuf_cookie)
        await trio.to_thread.run_sync(buffer.mapping.close)

    async def _forget(self, fb_cookie: int) -> None:
        """Take a framebuffer out of the table and off every output of this guest. Raises RequestError ENOENT."""
        # First out of the table: a flip on another channel must not find it while we wait.
        frame = self._buffers.detach(fb_cookie)
        for output in self._held:
            await output.forget(frame)

    async def _configure(self, channel: Channel, request: SetConfig) -> None:
        if request.disables:
            await channel.screen.disable()
            channel.log.info("off")
            return
        frame = self._buffers.frame(request.fb_cookie)
        # Linux sends the framebuffer's size, which may exceed the connector's resolution.
        crop = Crop(
            request.x,
            request.y,
            min(request.width, channel.nodes.width),
            min(request.height, channel.nodes.height),
        )
        if not crop.inside(frame) or not crop.width or not crop.height:
            raise RequestError(
                Status.EINVAL,
                f"SET_CONFIG: {request.width}x{request.height} at {request.x},{request.y} is not inside"
                f" the {frame.layout.width}x{frame.layout.height} framebuffer",
            )
        await channel.screen.settle()
        output = await self._outputs.find(channel.nodes.output)
        output.claim(channel, f"{self._name} connector {channel.nodes.index}")
        if output not in self._held:
            self._held.append(output)
        how = await output.configure(frame, crop)
        channel.screen = output
        channel.crop = crop
        channel.log.info("shown on %s", how)

    async def _flip(self, channel: Channel, request: PgFlip) -> None:
        """A flip that the output can't do as it is: another format, or a framebuffer too small."""
        frame = self._buffers.frame(request.fb_cookie)
        crop = channel.crop
        if crop is None or not crop.inside(frame):
            raise RequestError(
                Status.EINVAL,
                f"PG_FLIP: the {frame.layout.width}x{frame.layout.height} framebuffer does not hold"
                " what SET_CONFIG set",
            )
        output = await self._outputs.find(channel.nodes.output)
        await output.configure(frame, crop)
        channel.send_flip_event(request.fb_cookie)

    async def _edid(self, channel: Channel, request: GetEdid) -> int:
        output = await self._outputs.find(channel.nodes.output)
        edid = output.edid
        if not edid:
            raise RequestError(Status.ENOENT, f"GET_EDID: output {output.name} has no EDID")
        if len(edid) > request.buffer_sz:
            raise RequestError(
                Status.ENOSPC, f"GET_EDID: {request.buffer_sz} bytes for an EDID of {len(edid)}"
            )
        # Only what is written: buffer_sz can claim 4 GiB, and these grants are in nobody's budget.
        pages = pages_needed(len(edid))
        mapping = await self._map_directory(request.gref_directory, pages, writable=True)
        try:
            write_memory(mapping.address, edid)
        finally:
            await trio.to_thread.run_sync(mapping.close)
        return len(edid)

    async def release(self) -> None:
        """Off all outputs, then unmap everything. Outputs first: they read the memory."""
        for output in self._held:
            await output.release()
        self._held.clear()
        mappings = self._buffers.clear()
        if mappings:
            await trio.to_thread.run_sync(_close_all, mappings)


def _close_all(mappings: list[GrantMapping]) -> None:
    for mapping in mappings:
        mapping.close()
