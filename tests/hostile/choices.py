# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes as decisions: a fuzzer that changes a byte changes one of them, and the rest stay what they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

EDGES = (0, 1, 2, 3, 63, 64, 65, 4095, 4096, 4097, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Where 32 bits go wrong."""


class Choices:
    """After the last byte every choice is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def bytes(self, count: int) -> bytes:
        """``count`` of them, zeros where there are no more."""
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")

    def below(self, limit: int) -> int:
        return int.from_bytes(self.bytes(1 if limit <= 256 else 4), "little") % limit

    def pick(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def u32(self, *likely: int) -> int:
        """One of ``likely``, an edge, or any number."""
        kind = self.below(4)
        if kind < 2 and likely:
            return self.pick(likely)
        return self.pick(EDGES) if kind < 3 else int.from_bytes(self.bytes(4), "little")
