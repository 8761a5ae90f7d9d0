# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that an earlier process allocated for a guest (be-alloc=1), which maps it still.

systemd holds what it is made of, and a record of what it is (:mod:`xendisplback.kept`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from xendisplback.errors import HostError
from xendisplback.frontend.memory import GrantedMemory
from xendisplback.host import Card, GrantTable
from xendisplback.scanout.ladder import Refusal, Step
from xendisplback.xen.shared_memory import FileMapping


class MemoryRecord(msgspec.Struct, frozen=True):
    card: str | None
    """The path of the card whose memory it is; None: gntalloc's."""
    shape: tuple[int, ...]
    size: int
    """Bytes."""
    refs: list[int]
    refused: tuple[str | None, int | None, str] | None = None
    """The card's refusal, of gntalloc's."""

    def pack(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def unpack(cls, packed: bytes) -> MemoryRecord:
        """Raises HostError."""
        try:
            return msgspec.json.decode(packed, type=cls)
        except msgspec.DecodeError as error:
            raise HostError(f"a record of an earlier process's memory: {error}") from error


class _Mapped:
    """Fulfils what of DmaBuf and GrantedPages is left of a card's: its end. Its grants are its handle's."""

    def __init__(self, fd: int, record: MemoryRecord) -> None:
        """Owns ``fd``. Raises HostError."""
        self.refs: Sequence[int] = record.refs
        self.fd = fd
        try:
            self._mapping = FileMapping(fd, record.size)
        except OSError as error:
            os.close(fd)
            raise HostError(
                "an earlier process's memory can't be mapped", call="mmap", errno=error.errno
            ) from error
        self.address = self._mapping.address

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._mapping.close()
            os.close(fd)


def map_again(fd: int, record: MemoryRecord, card: Card | None, table: GrantTable) -> GrantedMemory:
    """Owns ``fd``: a dma-buf of the memory of ``record``'s card, which is ``card``, or gntalloc's file.

    Raises HostError.
    """
    if record.card is None:
        shared = table.share_again(fd, record.refs)
        refused = [] if record.refused is None else [Refusal(Step.CARD, *record.refused)]
        return GrantedMemory(shared, shared.address, record.shape, refused=refused)
    mapped = _Mapped(fd, record)
    return GrantedMemory(mapped, mapped.address, record.shape, card, mapped)
