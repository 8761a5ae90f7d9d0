# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's display buffers: its own scattered pages, or the backend's (be-alloc=1), and framebuffers on them."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass

from xendisplback.protocol.directory import REFS_PER_PAGE, directory_pages, encode_directory
from xendisplback.protocol.displif import REQ_ALLOC
from xendisplback.protocol.layout import pages_needed
from xendisplback.sim.backend_memory import ForeignMapping
from xendisplback.sim.mapping import PAGE
from xendisplback.sim.memory import GuestMemory
from xendisplback.sim.pixels import pack


class GuestBuffer(ABC):
    """``size`` bytes; unknown to the backend until a DBUF_CREATE names :attr:`directory_ref`."""

    flags = 0
    """What its DBUF_CREATE needs."""
    unmapped_first = False
    """Whether Linux frees it before it sends DBUF_DESTROY."""

    def __init__(self, memory: GuestMemory, backend_domid: int, cookie: int, size: int) -> None:
        self.cookie = cookie
        self.size = size
        self.refs: list[int] = []
        """Of the buffer's pages."""
        self.pixels = memoryview(b"")
        """All bytes, in the order that the directory tells."""
        self._memory = memory
        self._directory_pages = memory.allocate(directory_pages(pages_needed(size)))
        self.directory_refs = [memory.grant(page, backend_domid) for page in self._directory_pages]
        self._directory_mapping = memory.map_own(self._directory_pages)
        self.directory = self._directory_mapping.view()
        """The directory's pages, one after the other, writable."""
        self._open = True

    @property
    def directory_ref(self) -> int:
        return self.directory_refs[0]

    def set_directory_entry(self, page: int, index: int, ref: int) -> None:
        """Forge: index 0 is the next page's reference, the others are gref[index - 1]."""
        struct.pack_into("<I", self.directory, page * PAGE + 4 * index, ref)

    def created(self) -> bool:
        """The backend has answered DBUF_CREATE; whether the guest can use the buffer."""
        return True

    def free(self) -> None:
        """End the grants and give the pages back. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._free_pages()
        for ref in self.directory_refs:
            self._memory.end_access(ref)
        self._unmap_directory()
        self._memory.free(self._directory_pages)

    def abandon(self) -> None:
        """The guest is dead: it ends no grant, but this process needs the addresses. Idempotent."""
        self.pixels.release()
        if self._open:
            self._open = False
            self._unmap_directory()
            self._unmap_own()

    def _unmap_directory(self) -> None:
        self.directory.release()
        self._directory_mapping.close()

    @abstractmethod
    def _free_pages(self) -> None: ...

    @abstractmethod
    def _unmap_own(self) -> None:
        """Give up the address of the guest's own pages."""


class OwnBuffer(GuestBuffer):
    """In the guest's pages, granted."""

    def __init__(self, memory: GuestMemory, backend_domid: int, cookie: int, size: int) -> None:
        self._pages = memory.allocate(pages_needed(size))
        super().__init__(memory, backend_domid, cookie, size)
        self.refs = [memory.grant(page, backend_domid) for page in self._pages]
        self._mapping = memory.map_own(self._pages)
        self.pixels = self._mapping.view()[:size]
        self.directory[:] = b"".join(encode_directory(self.directory_refs, self.refs))

    def _free_pages(self) -> None:
        for ref in self.refs:
            self._memory.end_access(ref)
        self.pixels.release()
        self._mapping.close()
        self._memory.free(self._pages)

    def _unmap_own(self) -> None:
        self._mapping.close()


class AllocatedBuffer(GuestBuffer):
    """In the backend's pages (be-alloc=1): the directory only links its own pages until the backend fills it."""

    flags = REQ_ALLOC
    unmapped_first = True

    def __init__(
        self, memory: GuestMemory, backend_domid: int, cookie: int, size: int, *, keep: bool
    ) -> None:
        """``keep``: a hostile guest's, mapped until the guest dies."""
        super().__init__(memory, backend_domid, cookie, size)
        for page, ref in enumerate(self.directory_refs[1:]):
            self.set_directory_entry(page, 0, ref)
        self._keep = keep
        self._mapping: ForeignMapping | None = None

    def created(self) -> bool:
        """Map the pages of exactly ``size`` bytes, as xen-front-pgdir-shbuf's backend_map() does."""
        if not self._open:
            return False
        left = pages_needed(self.size)
        refs: list[int] = []
        for page in range(len(self.directory_refs)):
            count = min(left, REFS_PER_PAGE)
            refs += struct.unpack_from(f"<{count}I", self.directory, page * PAGE + 4)
            left -= count
        self.refs = refs
        self._mapping = self._memory.map_granted(refs)
        if self._mapping is None:
            return False
        self.pixels = self._mapping.view()[: self.size]
        return True

    def _free_pages(self) -> None:
        if not self._keep and self._mapping is not None:
            self.pixels.release()
            self._mapping.close()

    def _unmap_own(self) -> None:
        """It has none: what it mapped of others ends with its domain."""


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
