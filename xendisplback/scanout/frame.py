# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's framebuffer: memory that can be reached in several ways, and how a picture lies in it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from xendisplback.protocol.layout import FrameLayout
from xendisplback.scanout.ladder import Refusal, Step


class Lease(Protocol):
    """The use of a dma-buf; it stays until :meth:`release`."""

    @property
    def fd(self) -> int: ...
    def release(self) -> None:
        """From any thread. Idempotent."""
        ...


class FrameMemory(Protocol):
    """A guest's buffer. :mod:`xendisplback.frontend.memory` makes and ends it."""

    @property
    def shape(self) -> Hashable:
        """Equal for buffers that a card treats alike, as far as we know."""
        ...

    @property
    def steps(self) -> Sequence[Step]:
        """The ways that this memory has to a screen, best first."""
        ...

    @property
    def refused(self) -> Sequence[Refusal]:
        """Better steps that it could not be made for."""
        ...

    async def address(self, deadline: float) -> int:
        """Where the CPU reads it; mapped the first time. Raises HostError, ETIMEDOUT at ``deadline``."""
        ...

    async def dmabuf(self, step: Step, deadline: float) -> Lease:
        """Its dma-buf for ``step``; made the first time. Raises HostError, ETIMEDOUT at ``deadline``."""
        ...

    async def drop(self, step: Step) -> None:
        """Give up the dma-buf of a step that failed, unless it is leased: it may hold contiguous memory.

        Raises HostError.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Compared and hashed by identity: a guest may attach any number of framebuffers to one buffer."""

    cookie: int
    """The guest's name for it, at any time that of one framebuffer of a guest."""
    memory: FrameMemory
    layout: FrameLayout
    others: Sequence[FrameLayout] = ()
    """Layouts with a larger pitch that explain the buffer's size as well."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a guest's frame that is shown, in pixels."""

    x: int
    y: int
    width: int
    height: int

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def start(self, layout: FrameLayout) -> int:
        """The byte of the buffer at which it begins."""
        return layout.offset + self.y * layout.pitch + self.x * layout.format.bytes_per_pixel

    def inside(self, layout: FrameLayout) -> bool:
        return self.x + self.width <= layout.width and self.y + self.height <= layout.height
