# SPDX-License-Identifier: GPL-2.0-or-later
"""The display buffers and framebuffers of one connection, by the guest's cookies.

Cookies are addresses in the guest's kernel: 0 is invalid, and one is free again once its object is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from xendisplback.frontend.budget import DomainBudget, Kind
from xendisplback.frontend.memory import BufferMemory
from xendisplback.protocol.displif import DbufCreate, FbAttach
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import frame_layout, other_layouts
from xendisplback.protocol.status import Status
from xendisplback.scanout.frame import Frame


@dataclass(slots=True, eq=False)
class Buffer:
    """A display buffer and the framebuffers on it."""

    create: DbufCreate
    memory: BufferMemory
    frames: dict[int, Frame] = field(default_factory=dict[int, Frame])
    attached: dict[int, FbAttach] = field(default_factory=dict[int, FbAttach])
    """What the guest asked for each of them."""


class BufferTable:
    def __init__(self, budget: DomainBudget) -> None:
        self._budget = budget
        self._buffers: dict[int, Buffer] = {}
        self._frames: dict[int, Frame] = {}
        self._owner: dict[int, Buffer] = {}

    def check_new(self, create: DbufCreate) -> None:
        """Raises RequestError EEXIST for a cookie in use."""
        if create.dbuf_cookie in self._buffers:
            raise RequestError(
                Status.EEXIST, f"DBUF_CREATE: cookie {create.dbuf_cookie:#x} is in use"
            )

    @contextmanager
    def room(self) -> Generator[None]:
        """For one buffer, made and added by the block. Raises OverBudget."""
        self._budget.take(Kind.BUFFERS)
        try:
            yield
        except BaseException:
            self._budget.give(Kind.BUFFERS)
            raise

    @property
    def all(self) -> Collection[Buffer]:
        """In the order in which they were made."""
        return self._buffers.values()

    def add(self, create: DbufCreate, memory: BufferMemory) -> None:
        """Counted by :meth:`room`, which is around it."""
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
        layout = frame_layout(buffer.create, request)
        self._budget.take(Kind.FRAMEBUFFERS)
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
        self._budget.give(Kind.FRAMEBUFFERS)
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
        self._budget.give(Kind.BUFFERS)
        del self._buffers[dbuf_cookie]

    def clear(self) -> list[BufferMemory]:
        """Forget everything; the memories are the caller's to close."""
        memories = [buffer.memory for buffer in self._buffers.values()]
        self._budget.give(Kind.BUFFERS, len(self._buffers))
        self._budget.give(Kind.FRAMEBUFFERS, len(self._frames))
        self._buffers.clear()
        self._frames.clear()
        self._owner.clear()
        return memories
