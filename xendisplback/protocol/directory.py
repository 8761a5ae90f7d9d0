# SPDX-License-Identifier: GPL-2.0-or-later
"""The page directory: a chain of pages that list a buffer's grant references (struct xendispl_page_directory)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import PAGE
from xendisplback.protocol.status import Status

REFS_PER_PAGE: Final = 1023
_PAGE = struct.Struct("<1024I")


def directory_pages(pages: int) -> int:
    """How many directory pages list ``pages`` references."""
    return -(-pages // REFS_PER_PAGE)


class _Chain:
    """The directory pages of a buffer of ``pages`` pages, one reference after the other."""

    def __init__(self, first_ref: int, pages: int) -> None:
        self._pages = pages
        self._listed = 0
        self._seen: set[int] = set()
        self.next_page: int | None = self._directory(first_ref)
        """The reference of the directory page that comes next; None: no further one."""

    def _advance(self, following: int, listed: int) -> None:
        self._listed += listed
        self.next_page = self._directory(following) if self._listed < self._pages else None

    def _directory(self, ref: int) -> int:
        return self._use(ref, f"the directory page after {self._listed} references")

    def _use(self, ref: int, what: str) -> int:
        if ref == 0:
            raise RequestError(
                Status.EINVAL, f"page directory: {what} is 0, {self._pages} pages are needed"
            )
        if ref in self._seen:
            raise RequestError(Status.EINVAL, f"page directory: {what}, {ref}, is used twice")
        self._seen.add(ref)
        return ref


class DirectoryWalk(_Chain):
    """Collects exactly ``pages`` references; the caller maps ``next_page`` and feeds a copy of it.

    Bounded by the number of directory pages that ``pages`` needs, whatever the chain looks like.
    """

    def __init__(self, first_ref: int, pages: int) -> None:
        super().__init__(first_ref, pages)
        self._grefs: list[int] = []

    @property
    def grefs(self) -> Sequence[int]:
        """The buffer's references in order; complete when ``next_page`` is None."""
        return self._grefs

    def feed(self, page: bytes) -> None:
        """Take a copy of ``next_page`` (4096 bytes).

        Raises RequestError EINVAL for a reference that is 0 or repeated, or a chain that ends too early.
        """
        following, *refs = _PAGE.unpack(page)
        used = [
            self._use(ref, "a buffer page's reference")
            for ref in refs[: self._pages - self._listed]
        ]
        self._grefs += used
        self._advance(following, len(used))


class DirectoryFill(_Chain):
    """Lists ``refs`` in the guest's directory (be-alloc=1); the caller maps ``next_page``, writable."""

    FIRST: Final = 4
    """Where the references begin in a directory page, bytes."""

    def __init__(self, first_ref: int, refs: Sequence[int]) -> None:
        super().__init__(first_ref, len(refs))
        self._refs = refs

    def feed(self, page: bytes) -> bytes:
        """Take a copy of ``next_page``; what to write into it from ``FIRST`` on. Raises RequestError EINVAL."""
        refs = self._refs[self._listed : self._listed + REFS_PER_PAGE]
        self._advance(_PAGE.unpack(page)[0], len(refs))
        return struct.pack(f"<{len(refs)}I", *refs)


def encode_directory(directory_grefs: Sequence[int], grefs: Sequence[int]) -> list[bytes]:
    """The directory's pages, 4096 bytes each, as a frontend fills them."""
    pages: list[bytes] = []
    for number in range(directory_pages(len(grefs))):
        following = directory_grefs[number + 1] if number + 1 < len(directory_grefs) else 0
        refs = grefs[number * REFS_PER_PAGE : (number + 1) * REFS_PER_PAGE]
        pages.append(struct.pack(f"<{1 + len(refs)}I", following, *refs).ljust(PAGE, b"\0"))
    return pages
