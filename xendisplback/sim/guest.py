# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's vdispl frontend, as Linux's xen_drm_front behaves towards its backend.

:class:`XenbusFrontend` (``guest_xenbus``) has the states; here are the buffers, and the requests that userspace
causes. Channel 0 carries every buffer and framebuffer operation.
"""

from __future__ import annotations

from dataclasses import replace
from errno import ENXIO

import trio

from xendisplback.protocol.displif import (
    DbufCreate,
    DbufDestroy,
    FbAttach,
    FbDetach,
    Request,
    Response,
)
from xendisplback.protocol.formats import fourcc
from xendisplback.protocol.layout import PAGE
from xendisplback.sim.event_channels import EventChannelHandle
from xendisplback.sim.guest_buffer import (
    AllocatedBuffer,
    GuestBuffer,
    GuestFramebuffer,
    OwnBuffer,
)
from xendisplback.sim.guest_channel import GuestError
from xendisplback.sim.guest_xenbus import XenbusFrontend
from xendisplback.sim.local_store import LocalStore
from xendisplback.sim.memory import GuestMemory
from xendisplback.sim.pixels import BITS_PER_PIXEL

__all__ = ["Guest", "GuestBuffer", "GuestError", "GuestFramebuffer"]

_FIRST_COOKIE = 0xFFFF_8880_0010_0000
"""Cookies are addresses in the guest's kernel."""


class Guest(XenbusFrontend):
    def __init__(
        self,
        path: str,
        store: LocalStore,
        memory: GuestMemory,
        channels: EventChannelHandle,
        nursery: trio.Nursery,
    ) -> None:
        super().__init__(path, store, memory, channels, nursery)
        self.keep_mapped = False
        """Hostile, with be-alloc=1: never unmap the backend's pages, whatever was destroyed."""
        self._cookie = _FIRST_COOKIE
        self._buffers: list[GuestBuffer] = []
        self._kept: list[GuestBuffer] = []

    def new_cookie(self) -> int:
        self._cookie += 0x400
        return self._cookie

    def allocate(self, size: int) -> GuestBuffer:
        """``size`` bytes in granted pages, or (be-alloc=1) a directory for the backend's pages.

        The backend is told nothing.
        """
        arguments = (self.memory, self.backend_domid, self.new_cookie(), size)
        if self.be_alloc:
            buffer: GuestBuffer = AllocatedBuffer(*arguments, keep=self.keep_mapped)
        else:
            buffer = OwnBuffer(*arguments)
        self._buffers.append(buffer)
        return buffer

    def free_buffers(self) -> None:
        for buffer in list(self._buffers):
            self._free(buffer)

    def stop(self) -> None:
        super().stop()
        for buffer in (*self._buffers, *self._kept):
            buffer.abandon()
        self._buffers.clear()
        self._kept.clear()

    def _free(self, buffer: GuestBuffer) -> None:
        buffer.free()
        if buffer in self._buffers:
            self._buffers.remove(buffer)
            if self.keep_mapped:
                self._kept.append(buffer)

    # Requests; each raises GuestError

    async def request(self, index: int, request: Request) -> Response:
        """Any request on connector ``index``; ``request_id`` is filled in. Returns refusals too."""
        return await self.displays[index].channel.request(request)

    async def dbuf_create(
        self,
        buffer: GuestBuffer,
        width: int,
        height: int,
        bpp: int,
        data_ofs: int = 0,
        flags: int = 0,
    ) -> None:
        """The buffer is freed if this fails, as Linux frees it."""
        flags |= buffer.flags
        create = DbufCreate(
            0, buffer.cookie, width, height, bpp, buffer.size, flags, buffer.directory_ref, data_ofs
        )
        display = self.displays[0]
        try:
            await display.call(create)
        except GuestError:
            self._free(buffer)
            raise
        if not buffer.created():
            self._free(buffer)
            await display.call(DbufDestroy(0, buffer.cookie))
            raise GuestError(ENXIO, "mapping what the backend granted")

    async def dbuf_destroy(self, buffer: GuestBuffer) -> None:
        """The buffer is freed whatever the answer is."""
        if buffer.unmapped_first:
            self._free(buffer)
        try:
            await self.displays[0].call(DbufDestroy(0, buffer.cookie))
        finally:
            self._free(buffer)

    async def fb_attach(
        self,
        buffer: GuestBuffer,
        width: int,
        height: int,
        format: str,
        fb_cookie: int | None = None,
    ) -> GuestFramebuffer:
        """``format``: the four characters of its code. Rows are taken to follow each other without gaps."""
        cookie = self.new_cookie() if fb_cookie is None else fb_cookie
        await self.displays[0].call(
            FbAttach(0, buffer.cookie, cookie, width, height, fourcc(format))
        )
        pitch = (width * BITS_PER_PIXEL.get(format, 32) + 7) // 8
        return GuestFramebuffer(buffer, cookie, width, height, format, pitch)

    async def fb_detach(self, fb: GuestFramebuffer) -> None:
        await self.displays[0].call(FbDetach(0, fb.cookie))

    async def mode_set(
        self, index: int, x: int, y: int, width: int, height: int, bpp: int, fb_cookie: int
    ) -> None:
        await self.displays[index].mode_set(x, y, width, height, bpp, fb_cookie)

    async def page_flip(self, index: int, fb_cookie: int) -> None:
        """Answered; the event comes later (``displays[index].frame_done``)."""
        await self.displays[index].send_flip(fb_cookie)

    # As userspace sees it

    async def create_framebuffer(
        self,
        width: int,
        height: int,
        format: str = "XR24",
        *,
        pitch_align: int = 1,
        imported: bool = False,
        data_ofs: int = 0,
    ) -> GuestFramebuffer:
        """A dumb buffer and a framebuffer on it, or (``imported``) one whose shape only FB_ATTACH tells.

        ``pitch_align``: 1 is Linux 6.1, 8 newer ones, which also round the size up to pages.
        """
        bpp = BITS_PER_PIXEL[format]
        row = (width * bpp + 7) // 8
        pitch = -(-row // pitch_align) * pitch_align
        size = data_ofs + pitch * height
        if imported or pitch_align > 1:
            size = -(-size // PAGE) * PAGE
        buffer = self.allocate(size)
        if imported:
            await self.dbuf_create(buffer, 0, 0, 0, data_ofs)
        else:
            await self.dbuf_create(buffer, width, height, bpp, data_ofs)
        fb = await self.fb_attach(buffer, width, height, format)
        return replace(fb, pitch=pitch, offset=data_ofs)

    async def destroy_framebuffer(self, fb: GuestFramebuffer) -> None:
        await self.fb_detach(fb)
        await self.dbuf_destroy(fb.buffer)
