# SPDX-License-Identifier: GPL-2.0-or-later
"""What of ours outlives this process, and by which names systemd holds it for the next one.

==============================  ==================================================================================
``card-PATH``                   the card's file: its CRTCs stay lit, its framebuffers and imported memory stay
``screen-PATH``                 what was on that card's screens before us (a memfd)
``routes``                      what ``xendisplback route`` has changed since the configuration was read (a memfd)
``guest-DOMID-DEVICE``          the journal of a connected frontend (:mod:`xendisplback.frontend.journal`)
``be-alloc-DOMID``              gntdev's handle, which keeps card memory granted that a guest maps
``be-pages-DOMID-N``            memory that a guest maps: such a dma-buf, or gntalloc's file
``be-record-DOMID-N``           what that memory is (a memfd; :mod:`xendisplback.frontend.earlier_memory`)
==============================  ==================================================================================
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from xendisplback.host import Card, FdStore, KeptCard

logger = logging.getLogger(__name__)

CARD: Final = "card-"
SCREEN: Final = "screen-"
ROUTES: Final = "routes"
GUEST: Final = "guest-"
HANDLE: Final = "be-alloc-"
PAGES: Final = "be-pages-"
RECORD: Final = "be-record-"


def keep_card(store: FdStore, card: Card) -> None:
    """As long as it is open. Its path must be a name that the store takes: a lease's is none."""
    # Ours from an earlier process, or another's that had the path.
    drop_card(store, card.path)
    store.keep(CARD + card.path, card.fd)
    _keep_bytes(store, SCREEN + card.path, card.before)


def keep_pages(store: FdStore, domid: int, number: int, fd: int, record: bytes) -> None:
    """``number``: of all that the domain has, also from earlier processes."""
    _keep_bytes(store, f"{RECORD}{domid}-{number}", record)
    store.keep(f"{PAGES}{domid}-{number}", fd)


def drop_pages(store: FdStore, domid: int, number: int) -> None:
    store.drop(f"{PAGES}{domid}-{number}")
    store.drop(f"{RECORD}{domid}-{number}")


def _keep_bytes(store: FdStore, name: str, content: bytes) -> None:
    try:
        fd = os.memfd_create("xendisplback", os.MFD_CLOEXEC)
    except OSError as error:
        # Then a restart is seen, and all else goes on.
        logger.warning("%s can't be kept for the next process: %s", name, error)
        return
    try:
        os.pwrite(fd, content, 0)
        store.keep(name, fd)
    finally:
        os.close(fd)


def _read(fd: int) -> bytes:
    """All of it; closes it."""
    try:
        return os.pread(fd, os.fstat(fd).st_size, 0)
    finally:
        os.close(fd)


def drop_card(store: FdStore, path: str) -> None:
    store.drop(CARD + path)
    store.drop(SCREEN + path)


def keep_routes(store: FdStore, routes: bytes) -> None:
    """In place of the last ones; b"": none."""
    store.drop(ROUTES)
    if routes:
        _keep_bytes(store, ROUTES, routes)


def guest_name(domid: int, index: int) -> str:
    return f"{GUEST}{domid}-{index}"


def handle_name(domid: int) -> str:
    return f"{HANDLE}{domid}"


@dataclass(frozen=True, slots=True)
class KeptPages:
    number: int
    fd: int
    record: bytes


@dataclass(frozen=True, slots=True)
class KeptMemory:
    """What a domain may map; the files are the owner's to close."""

    handles: list[int] = field(default_factory=list[int])
    pages: list[KeptPages] = field(default_factory=list[KeptPages])


class Kept:
    """What an earlier process left. Its files are ours; what nobody takes is closed by :meth:`close`."""

    def __init__(self, store: FdStore) -> None:
        self._store = store
        self._fds = {name: list(fds) for name, fds in store.take().items()}

    def _named(self, prefix: str) -> list[str]:
        return [name.removeprefix(prefix) for name in self._fds if name.startswith(prefix)]

    def cards(self) -> dict[str, KeptCard]:
        """By path, once; the files are the caller's to close."""
        cards: dict[str, KeptCard] = {}
        for path in self._named(CARD):
            if SCREEN + path in self._fds:
                (fd, *_), (screen, *_) = self._fds.pop(CARD + path), self._fds.pop(SCREEN + path)
                cards[path] = KeptCard(fd, _read(screen))
        return cards

    def routes(self) -> bytes:
        """Once."""
        fds = self._fds.pop(ROUTES, [])
        return _read(fds[0]) if fds else b""

    def guest(self, domid: int, index: int) -> int | None:
        """Its journal, once; the caller's to close."""
        fds = self._fds.pop(guest_name(domid, index), [])
        for fd in fds[1:]:
            os.close(fd)
        return fds[0] if fds else None

    def memories(self) -> dict[int, KeptMemory]:
        """By domain, once."""
        memories: defaultdict[int, KeptMemory] = defaultdict(KeptMemory)
        for domid in self._named(HANDLE):
            memories[int(domid)].handles.extend(self._fds.pop(HANDLE + domid))
        for name in self._named(PAGES):
            domid, _, number = name.partition("-")
            if RECORD + name in self._fds:
                (fd, *_), (record, *_) = self._fds.pop(PAGES + name), self._fds.pop(RECORD + name)
                memories[int(domid)].pages.append(KeptPages(int(number), fd, _read(record)))
        return dict(memories)

    def close(self) -> None:
        """All that is left, in the store too. Idempotent."""
        for name, fds in self._fds.items():
            self._store.drop(name)
            for fd in fds:
                os.close(fd)
        self._fds = {}
