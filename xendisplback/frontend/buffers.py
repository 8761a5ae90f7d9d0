# SPDX-License-Identifier: GPL-2.0-or-later
"""The display buffers and framebuffers of one connection, by the guest's cookies.

Cookies are addresses in the guest's kernel: 0 is invalid, and one is free again once its object is gone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from xendisplback.frontend.memory import BufferMemory
from xendisplback.protocol.displif import DbufCreate, FbAttach
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import frame_layout, other_layouts
from xendisplback.protocol.status import Status
from xendisplback.scanout.frame import Frame

MAX_BUFFERS = 256
MAX_FRAMES = 1024
MAX_PAGES = 65536
"""256 MiB: a quarter of the 262144 map-track entries that the whole backend domain has by default, or half of them
where each buffer is both exported and mapped."""


@dataclass(slots=True, eq=False)
class Buffer:
    """A display buffer and the framebuffers on it."""

    create: DbufCreate
    memory: BufferMemory
    frames: dict[int, Frame] = field(default_factory=dict[int, Frame])
    attached: dict[int, FbAttach] = field(default_factory=dict[int, FbAttach])
    """What the guest asked for each of them."""


class BufferTable:
    def __init__(self) -> None:
        self._buffers: dict[int, Buffer] = {}
        self._frames: dict[int, Frame] = {}
        self._owner: dict[int, Buffer] = {}

    def check_room(self, create: DbufCreate, pages: int) -> None:
        """Raises RequestError: EEXIST for a cookie in use, ENOSPC over the limits of a connection."""
        if create.dbuf_cookie in self._buffers:
            raise RequestError(
                Status.EEXIST, f"DBUF_CREATE: cookie {create.dbuf_cookie:#x} is in use"
            )
        if len(self._buffers) >= MAX_BUFFERS:
            raise RequestError(Status.ENOSPC, f"DBUF_CREATE: more than {MAX_BUFFERS} buffers")
        mapped = sum(buffer.memory.pages for buffer in self._buffers.values())
        if mapped + pages > MAX_PAGES:
            raise RequestError(
                Status.ENOSPC,
                f"DBUF_CREATE: {pages} pages on top of {mapped} are more than {MAX_PAGES}",
            )

    @property
    def all(self) -> Collection[Buffer]:
        """In the order in which they were made."""
        return self._buffers.values()

    def add(self, create: DbufCreate, memory: BufferMemory) -> None:
        self._buffers[create.dbuf_cookie] = Buffer(create, memory)

    def attach(self, request: FbAttach) -> None:
        """Raises RequestError: ENOENT without the buffer, EEXIST, EINVAL where the picture does not fit."""
        buffer = self._buffers.get(request.dbuf_cookie)
        if buffer is None:
            raise RequestError(
                Status.ENOENT, f"FB_ATTACH: no buffer with cookie {request.dbuf_cookie:#x}"
            )
        if request.fb_cookie in self._frames:
            raise RequestError(Status.EEXIST, f"FB_ATTACH: cookie {request.fb_cookie:#x} is in use")
        if len(self._frames) >= MAX_FRAMES:
            raise RequestError(Status.ENOSPC, f"FB_ATTACH: more than {MAX_FRAMES} framebuffers")
        layout = frame_layout(buffer.create, request)
        others = other_layouts(buffer.create, layout)
        frame = Frame(request.fb_cookie, buffer.memory, layout, others)
        self._frames[request.fb_cookie] = buffer.frames[request.fb_cookie] = frame
        buffer.attached[request.fb_cookie] = request
        self._owner[request.fb_cookie] = buffer

    def frame(self, fb_cookie: int) -> Frame:
        """Raises RequestError ENOENT."""
        frame = self._frames.get(fb_cookie)
        if frame is None:
            raise RequestError(Status.ENOENT, f"no framebuffer with cookie {fb_cookie:#x}")
        return frame

    def detach(self, fb_cookie: int) -> Frame:
        """Forget the framebuffer. Raises RequestError ENOENT."""
        frame = self.frame(fb_cookie)
        del self._frames[fb_cookie]
        owner = self._owner.pop(fb_cookie)
        del owner.frames[fb_cookie], owner.attached[fb_cookie]
        return frame

    def buffer(self, dbuf_cookie: int) -> Buffer:
        """Raises RequestError ENOENT."""
        buffer = self._buffers.get(dbuf_cookie)
        if buffer is None:
            raise RequestError(
                Status.ENOENT, f"DBUF_DESTROY: no buffer with cookie {dbuf_cookie:#x}"
            )
        return buffer

    def remove(self, dbuf_cookie: int) -> None:
        """Forget a buffer that has no framebuffers left; its memory is the caller's to close."""
        del self._buffers[dbuf_cookie]

    def clear(self) -> list[BufferMemory]:
        """Forget everything; the memories are the caller's to close."""
        memories = [buffer.memory for buffer in self._buffers.values()]
        self._buffers.clear()
        self._frames.clear()
        self._owner.clear()
        return memories
