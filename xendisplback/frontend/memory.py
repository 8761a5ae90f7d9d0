# SPDX-License-Identifier: GPL-2.0-or-later
"""A display buffer's memory: the guest's pages, or ours granted to it. Fulfils scanout's ``FrameMemory``.

The order of release, because each holds the next: framebuffer off the screen, RmFB (scanout/), then
here dma-buf, the kernel's release of it, grants, memory; only then is DBUF_DESTROY answered.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from typing import Protocol

import trio

from xendisplback.frontend.grants import DomainGrants
from xendisplback.frontend.journal import checksum
from xendisplback.host import Card, DmaBuf, GrantedPages, GrantMapping
from xendisplback.scanout.frame import FrameMemory
from xendisplback.scanout.ladder import EXPORTS, Refusal, Step


class BufferMemory(FrameMemory, Protocol):
    """What a buffer table holds."""

    @property
    def pages(self) -> int: ...
    @property
    def owner(self) -> str:
        """Whose it is, for the operator: ``guest``, ``card`` or ``gntalloc``."""
        ...

    @property
    def checksum(self) -> int:
        """Of its grant references."""
        ...

    def close(self) -> None:
        """No framebuffer is left on it. Blocking. Raises HostError, with everything tried."""
        ...


class DmaBufLease:
    """Fulfils scanout's ``Lease``."""

    def __init__(self, fd: int, step: Step, leases: set[DmaBufLease]) -> None:
        self.fd = fd
        self.step = step
        self._leases = leases
        leases.add(self)

    def release(self) -> None:
        self._leases.discard(self)


class GuestMemory:
    """Pages that the guest granted: exported, or mapped for the CPU, or both, when it is first needed."""

    def __init__(self, grants: DomainGrants, refs: Sequence[int], shape: Hashable) -> None:
        self.steps: Sequence[Step] = (*EXPORTS, Step.COPY)
        self.refused: Sequence[Refusal] = ()
        self.shape = shape
        self.owner = "guest"
        self.pages = len(refs)
        self.checksum = checksum(refs)
        self._grants = grants
        self._refs = refs
        self._mapping: GrantMapping | None = None
        self._exports: dict[Step, DmaBuf] = {}
        self._leases: set[DmaBufLease] = set()
        # Two outputs may want the same memory at the same time.
        self._lock = trio.Lock()

    def only_copied(self, why: str) -> None:
        """Before anything else is asked of it."""
        self.steps = (Step.COPY,)
        self.refused = [Refusal(step, None, None, why) for step in EXPORTS]

    async def address(self, deadline: float) -> int:
        async with self._lock:
            if self._mapping is None:
                self._mapping = await self._grants.map(self._refs, deadline, writable=False)
            return self._mapping.address

    async def dmabuf(self, step: Step, deadline: float) -> DmaBufLease:
        async with self._lock:
            if step not in self._exports:
                export = await self._grants.export(self._refs, deadline, EXPORTS[step])
                self._exports[step] = export
            return DmaBufLease(self._exports[step].fd, step, self._leases)

    async def drop(self, step: Step) -> None:
        async with self._lock:
            if step in self._exports and all(lease.step is not step for lease in self._leases):
                # Nobody else knows it any more: a connection that ends must not cut this short.
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._exports.pop(step).close)

    def close(self) -> None:
        with ExitStack() as stack:
            if self._mapping is not None:
                stack.callback(self._mapping.close)
            for export in self._exports.values():
                stack.callback(export.close)
            self._mapping, self._exports = None, {}


class GrantedMemory:
    """Memory of ours that the guest may map (be-alloc=1): the card's own, or pages that only the CPU reaches.

    It outlives the guest's buffers: :mod:`~xendisplback.frontend.allocation` gives it to the same guest again.
    """

    def __init__(
        self,
        granted: GrantedPages,
        address: int,
        shape: Hashable,
        card: Card | None = None,
        memory: DmaBuf | None = None,
        refused: Sequence[Refusal] = (),
    ) -> None:
        """``card`` and its ``memory``: None where only the CPU reaches it, at ``address``."""
        self.shape = shape
        self.owner = "gntalloc" if memory is None else "card"
        self.steps: Sequence[Step] = (Step.COPY,) if memory is None else (Step.CARD, Step.COPY)
        self.refused = refused
        self.refs = granted.refs
        self.pages = len(granted.refs)
        self.checksum = checksum(granted.refs)
        self.card = card
        self.free = False
        """No buffer of the guest uses it."""
        self._granted = granted
        self._memory = memory
        self._address = address

    async def address(self, deadline: float) -> int:
        return self._address

    async def dmabuf(self, step: Step, deadline: float) -> DmaBufLease:
        assert self._memory is not None, f"{step} was not offered"
        return DmaBufLease(self._memory.fd, step, set())

    async def drop(self, step: Step) -> None:
        """It stays: the guest uses it."""

    def close(self) -> None:
        self.free = True

    def end(self) -> None:
        """Take it back from the guest, which is gone or can't hurt by mapping it. Blocking. Raises HostError."""
        with ExitStack() as stack:
            if self._memory is not None:
                stack.callback(self._memory.close)
            stack.callback(self._granted.close)
