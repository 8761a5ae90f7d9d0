# SPDX-License-Identifier: GPL-2.0-or-later
"""A domain's grant table. Thread-safe.

A grant that its domain ends while it is mapped is not free: Linux defers it and tries again ten times a second.
Such references are kept in ``Grants.deferred``, so that a test sees who unmaps too late.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

FIRST_REF = 8
"""GNTTAB_NR_RESERVED_ENTRIES: lower ones belong to the toolstack."""
Made = TypeVar("Made")


@dataclass(slots=True)
class _Grant:
    file: int
    page: int
    domid: int
    readonly: bool
    mapped: int = 0
    ended: bool = False


class Grants:
    def __init__(self) -> None:
        self.deferred: list[int] = []
        """Every reference that was ended while it was mapped."""
        self._next_ref = FIRST_REF
        self._grants: dict[int, _Grant] = {}
        self._lock = threading.Lock()

    def add(self, file: int, page: int, domid: int, *, readonly: bool = False) -> int:
        """Let ``domid`` map page ``page`` of ``file``, which stays open until the end; returns the reference."""
        with self._lock:
            ref = self._next_ref
            self._next_ref += 1
            self._grants[ref] = _Grant(file, page, domid, readonly)
            return ref

    def end(self, ref: int) -> None:
        with self._lock:
            grant = self._grants[ref]
            grant.ended = True
            if grant.mapped:
                self.deferred.append(ref)
            else:
                del self._grants[ref]

    def end_all(self, then: Callable[[], None]) -> None:
        """The domain is gone. Nobody looks at its files any more when ``then`` is called."""
        with self._lock:
            self._grants = {ref: grant for ref, grant in self._grants.items() if grant.mapped}
            for grant in self._grants.values():
                grant.ended = True
            then()

    def granted(self, domid: int | None = None) -> int:
        """Grants to ``domid``, or to all, that are not ended."""
        with self._lock:
            grants = [grant for grant in self._grants.values() if not grant.ended]
            return sum(domid in (None, grant.domid) for grant in grants)

    def kept(self, domid: int | None = None) -> int:
        """Grants that are ended and still mapped by ``domid``, or by any."""
        with self._lock:
            grants = [grant for grant in self._grants.values() if grant.ended]
            return sum(domid in (None, grant.domid) for grant in grants)

    def mapped(self, refs: Sequence[int]) -> int:
        """How many of ``refs`` are mapped now, ended or not."""
        with self._lock:
            return sum(ref in self._grants and self._grants[ref].mapped > 0 for ref in refs)

    def map(
        self,
        domid: int,
        refs: Sequence[int],
        make: Callable[[int, list[int]], Made],
        *,
        writable: bool,
    ) -> Made | None:
        """``make(file, pages)`` of ``refs``, which then count as mapped by ``domid``; None if one is invalid.

        All must be of one file.
        """
        with self._lock:
            files: set[int] = set()
            pages: list[int] = []
            for ref in refs:
                grant = self._grants.get(ref)
                if grant is None or grant.ended or grant.domid != domid:
                    return None
                if grant.readonly and writable:
                    return None
                files.add(grant.file)
                pages.append(grant.page)
            if len(files) != 1:
                return None
            made = make(files.pop(), pages)
            for ref in refs:
                self._grants[ref].mapped += 1
            return made

    def unmapped(self, refs: Sequence[int]) -> None:
        with self._lock:
            for ref in refs:
                grant = self._grants[ref]
                grant.mapped -= 1
                if grant.ended and not grant.mapped:
                    del self._grants[ref]
