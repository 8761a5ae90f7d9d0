# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's display buffers: scattered granted pages, their directory, and the framebuffers on them."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from xendisplback.protocol.directory import directory_pages, encode_directory
from xendisplback.protocol.layout import pages_needed
from xendisplback.sim.mapping import PAGE
from xendisplback.sim.memory import GuestMemory
from xendisplback.sim.pixels import pack


class GuestBuffer:
    """``size`` bytes, granted; unknown to the backend until a DBUF_CREATE names :attr:`directory_ref`."""

    def __init__(self, memory: GuestMemory, backend_domid: int, cookie: int, size: int) -> None:
        self.cookie = cookie
        self.size = size
        self._memory = memory
        count = pages_needed(size)
        self._pages = memory.allocate(count)
        self._directory_pages = memory.allocate(directory_pages(count))
        self.refs = [memory.grant(page, backend_domid) for page in self._pages]
        self.directory_refs = [memory.grant(page, backend_domid) for page in self._directory_pages]
        self._mapping = memory.map_own(self._pages)
        self._directory_mapping = memory.map_own(self._directory_pages)
        self.directory = self._directory_mapping.view()
        """The directory's pages, one after the other, writable."""
        self.pixels = self._mapping.view()[:size]
        """All bytes, in the order that the directory tells."""
        self.directory[:] = b"".join(encode_directory(self.directory_refs, self.refs))
        self._open = True

    @property
    def directory_ref(self) -> int:
        return self.directory_refs[0]

    def set_directory_entry(self, page: int, index: int, ref: int) -> None:
        """Forge: index 0 is the next page's reference, the others are gref[index - 1]."""
        struct.pack_into("<I", self.directory, page * PAGE + 4 * index, ref)

    def free(self) -> None:
        """End the grants and give the pages back. Idempotent."""
        if not self._open:
            return
        self._open = False
        for ref in (*self.refs, *self.directory_refs):
            self._memory.end_access(ref)
        self._unmap()
        self._memory.free(self._pages)
        self._memory.free(self._directory_pages)

    def abandon(self) -> None:
        """The guest is dead: it ends no grant, but this process needs the addresses. Idempotent."""
        if self._open:
            self._open = False
            self._unmap()

    def _unmap(self) -> None:
        self.pixels.release()
        self.directory.release()
        self._mapping.close()
        self._directory_mapping.close()


@dataclass(frozen=True, slots=True, eq=False)
class GuestFramebuffer:
    buffer: GuestBuffer
    cookie: int
    width: int
    height: int
    format: str
    """FourCC, as text: ``XR24``."""
    pitch: int
    offset: int = 0

    def fill(self, colour: int) -> None:
        """Make every pixel ``colour`` (0xRRGGBB)."""
        self.draw(0, [self.row(colour)] * self.height)

    def row(self, colour: int) -> bytes:
        """``width`` pixels of one colour."""
        pixel = pack(colour, self.format)
        length = self.width * (len(pixel) // 2 if self.format == "YUYV" else len(pixel))
        return (pixel * self.width)[:length]

    def draw(self, y: int, rows: list[bytes]) -> None:
        """Write whole rows of pixels, from row ``y`` on."""
        pixels = self.buffer.pixels
        for number, row in enumerate(rows, y):
            start = self.offset + number * self.pitch
            pixels[start : start + len(row)] = row
