# SPDX-License-Identifier: GPL-2.0-or-later
"""Framebuffers of a simulated card, in dumb buffers or in imported memory, and dumb buffers that are dma-bufs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

from xendisplback.kms.geometry import Geometry
from xendisplback.protocol.formats import FORMATS, fourcc_name
from xendisplback.sim.dmabuf import BufferPages, SharedBuffer
from xendisplback.sim.mapping import PAGE, PageMapping, memory_file
from xendisplback.sim.pixels import row_to_xrgb


class DumbMemory:
    """A dumb buffer, mapped for the CPU."""

    def __init__(self, width: int, height: int, bits_per_pixel: int, pitch_align: int) -> None:
        """Raises OSError."""
        row = (width * bits_per_pixel + 7) // 8
        self.pitch = (row + pitch_align - 1) // pitch_align * pitch_align
        self.pages = (self.pitch * height + PAGE - 1) // PAGE
        self.size = self.pages * PAGE
        self.file = memory_file("sim-dumb", self.size)
        self._mapping = PageMapping(self.file, range(self.pages), writable=True)
        self.address = self._mapping.address

    def unmap(self) -> None:
        self._mapping.close()

    def free(self) -> None:
        os.close(self.file)


class SimFramebuffer:
    """Fulfils :class:`xendisplback.host.Framebuffer`: a picture at an address of this process."""

    imported = False

    def __init__(
        self, id: int, geometry: Geometry, base: int, remove: Callable[[SimFramebuffer], None]
    ) -> None:
        """``base``: of its memory, to which ``geometry.offset`` is added."""
        self.id = id
        self.width = geometry.width
        self.height = geometry.height
        self.format = geometry.format
        self._geometry = geometry
        self._base = base
        self._remove = remove
        self._open = True

    def xrgb(self, x: int, y: int, width: int, height: int) -> bytes:
        """A part of the picture, as its memory is now, in XRGB8888, rows one after the other."""
        name = fourcc_name(self.format)
        pixel = FORMATS[self.format].bytes_per_pixel
        start = self._base + self._geometry.offset + x * pixel
        addresses = (start + row * self._geometry.pitch for row in range(y, y + height))
        rows = [ctypes.string_at(address, width * pixel) for address in addresses]
        return b"".join(row_to_xrgb(row, name) for row in rows)

    def vanish(self) -> None:
        """The device is gone."""

    def close(self) -> None:
        if self._open:
            self._open = False
            self._remove(self)
            self._free()

    def _free(self) -> None:
        """Give the memory back."""


class SimDumbFramebuffer(SimFramebuffer):
    """Fulfils :class:`xendisplback.host.DumbFramebuffer`."""

    def __init__(
        self,
        id: int,
        geometry: Geometry,
        memory: DumbMemory,
        remove: Callable[[SimFramebuffer], None],
    ) -> None:
        super().__init__(id, geometry, memory.address, remove)
        self._memory = memory
        self.address = memory.address
        self.pitch = memory.pitch
        self.size = memory.size

    def vanish(self) -> None:
        """Whoever touches the mapping gets SIGBUS, as with a driver that was unbound."""
        os.ftruncate(self._memory.file, 0)

    def _free(self) -> None:
        self._memory.unmap()
        self._memory.free()


class SimImportedFramebuffer(SimFramebuffer):
    """Nothing is copied: what is drawn into the buffer's pages is the picture."""

    imported = True

    def __init__(
        self,
        id: int,
        geometry: Geometry,
        buffer: SharedBuffer,
        seen: PageMapping,
        remove: Callable[[SimFramebuffer], None],
    ) -> None:
        """``seen``: the pages as the controller sees them. Owns it and one use of ``buffer``."""
        super().__init__(id, geometry, seen.address, remove)
        self._buffer = buffer
        self._seen = seen

    def _free(self) -> None:
        self._seen.close()
        self._buffer.put()


class SimCardMemory:
    """Fulfils :class:`xendisplback.host.CardMemory`."""

    def __init__(self, memory: DumbMemory, buffer: SharedBuffer) -> None:
        self._memory = memory
        self._buffer = buffer
        self.fd = buffer.fd
        self.address = memory.address
        self.pitch = memory.pitch
        self.size = memory.size

    def close(self) -> None:
        """Waits for nobody: framebuffers and grants keep the memory."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._memory.unmap()
            self._buffer.put()


def pages_of(memory: DumbMemory) -> BufferPages:
    return BufferPages.contiguous(memory.file, memory.pages)
