# SPDX-License-Identifier: GPL-2.0-or-later
"""A card's memory that an earlier process allocated for a guest (be-alloc=1), which maps it still.

systemd holds what it is made of, and a record of what it is (:mod:`xendisplback.kept`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from xendisplback.errors import HostError
from xendisplback.frontend.memory import GrantedMemory
from xendisplback.host import Card
from xendisplback.xen.shared_memory import FileMapping


class MemoryRecord(msgspec.Struct, frozen=True):
    card: str
    """The path of the card whose memory it is."""
    shape: tuple[int, ...]
    size: int
    """Bytes."""
    refs: list[int]

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
    """Fulfils what of DmaBuf and GrantedPages is left of it: its end. Its grants are its handle's."""

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


def map_again(fd: int, record: MemoryRecord, card: Card) -> GrantedMemory:
    """Owns ``fd``: a dma-buf of ``card``'s memory. Raises HostError."""
    mapped = _Mapped(fd, record)
    return GrantedMemory(mapped, mapped.address, record.shape, card, mapped)
