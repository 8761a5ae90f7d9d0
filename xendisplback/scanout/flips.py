# SPDX-License-Identifier: GPL-2.0-or-later
"""The hot path's C (cffi_build/flip_output.c, flip_card.c) as its outputs see it.

A flip runs in two C threads and never comes by here: the channel's begins, copies and commits it, the card's
ends it. Here is everything rare: which frames there are and how each is shown, and having the output to oneself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from xendisplback._ext import load_flip
from xendisplback.errors import HostError
from xendisplback.host import PreparedCommit
from xendisplback.scanout.copy_job import CopyJob

if TYPE_CHECKING:
    from xendisplback._ext import _flip


class FlipPath:
    """How C shows one framebuffer: which copy into either buffer, if any, and the commit that shows it then."""

    def __init__(
        self,
        fb_cookie: int,
        jobs: Sequence[CopyJob],
        commits: Sequence[PreparedCommit],
        *,
        refresh: bool,
    ) -> None:
        """Two ``jobs`` and ``commits``, or no job and one commit. They stay as they are.

        ``refresh``: what the guest draws into the framebuffer while it is on screen is not seen by itself.
        """
        # Referenced, because the struct does not keep what it points to.
        self._keep = (jobs, commits)
        self.struct = path = load_flip().ffi.new("struct xdb_path *")
        path.fb_cookie = fb_cookie
        for side, job in enumerate(jobs):
            path.jobs[side] = job.struct
        path.commit = commits[0].function
        path.arguments = [commits[0].argument, commits[-1].argument]
        path.refresh = refresh


class FlipTarget(Protocol):
    """Whom an output's flip events are for; its C struct lives as long as an output is attached to it."""

    @property
    def handle(self) -> _flip.xdb_channel: ...


class OutputFlips:
    """What is on its way to one CRTC. At most one flip or refresh is, and none begins while it is paused.

    Methods that change paths: while paused and after :meth:`wait` said so.
    """

    def __init__(self, refresh_rate: float) -> None:
        """``refresh_rate``: Hz at which the picture is looked at while its guest does not flip; 0: never."""
        c = load_flip()
        self._lib = c.lib
        self._null = c.ffi.NULL
        self.handle = self._lib.xdb_output_new(round(1000 / refresh_rate) if refresh_rate else 0)
        self.stuck_seconds = self._lib.XDB_STUCK_MS / 1000
        """How long a flip event may take."""
        if not self.handle:
            raise HostError("an output", call="calloc", errno=errno.ENOMEM)

    def attach(self, target: FlipTarget | None) -> None:
        """Send flip events to ``target``, and count from 0 again."""
        self._lib.xdb_output_attach(self.handle, target.handle if target else self._null)

    def pause(self) -> None:
        """From now on the channel hands each flip to Python."""
        self._lib.xdb_output_pause(self.handle)

    def resume(self) -> None:
        self._lib.xdb_output_resume(self.handle)

    def wait(self, seconds: float) -> bool:
        """Whether nothing is on its way any more, within ``seconds``. Blocking."""
        return bool(self._lib.xdb_output_wait(self.handle, round(seconds * 1000)))

    def stop(self) -> None:
        """Forget all paths at once: the card is gone or stuck. :meth:`abandon` comes next."""
        self._lib.xdb_output_stop(self.handle)

    def abandon(self) -> None:
        """End what is on its way, with its event. Blocking while it is copied or committed."""
        self._lib.xdb_output_abandon(self.handle)

    def add(self, path: FlipPath) -> None:
        """``path`` stays as it is until :meth:`remove` or :meth:`stop`. It replaces one with its cookie."""
        if self._lib.xdb_output_add(self.handle, path.struct) != 0:
            raise HostError("a framebuffer's path", call="realloc", errno=errno.ENOMEM)

    def remove(self, path: FlipPath) -> None:
        self._lib.xdb_output_remove(self.handle, path.struct)

    def shown(self, path: FlipPath, digest: int) -> None:
        """A commit of Python's shows ``path`` now; ``digest``: that of its copied picture."""
        self._lib.xdb_output_shown(self.handle, path.struct, digest)

    def shows(self, path: FlipPath) -> bool:
        return self._lib.xdb_output_path(self.handle) == path.struct

    @property
    def side(self) -> int:
        """Which of two copy buffers is not on screen, 0 or 1."""
        return self._lib.xdb_output_side(self.handle)

    @property
    def flips(self) -> int:
        return self._lib.xdb_output_flips(self.handle)

    @property
    def copies(self) -> int:
        """Pictures copied by flips and refreshes."""
        return self._lib.xdb_output_copies(self.handle)

    def trace(self, size: int) -> FlipTrace:
        """From now on keep the times of the last ``size`` flips; in place of an earlier trace."""
        return FlipTrace(self.handle, size)

    def close(self) -> None:
        """No channel shows on it, and its card's :class:`CardFlips` is closed."""
        self._lib.xdb_output_free(self.handle)


@dataclass(frozen=True, slots=True)
class FlipTimes:
    """When one flip came to each stage; CLOCK_MONOTONIC, ns."""

    doorbell: int
    answered: int
    committed: int
    """The copy, if any, is done too."""
    vblank: int
    """As the kernel says."""
    event: int
    """Its flip event was read."""


class FlipTrace:
    """Made by :meth:`OutputFlips.trace`."""

    def __init__(self, handle: _flip.xdb_output, size: int) -> None:
        c = load_flip()
        self._lib = c.lib
        self._handle = c.lib.xdb_output_trace(handle)
        self._size = size
        self._ring = c.ffi.new("struct xdb_flip_times[]", size)
        self._lib.xdb_trace_start(self._handle, self._ring, size)

    def close(self) -> list[FlipTimes]:
        """End it; what was traced, oldest first. Before its output is closed."""
        traced = self._lib.xdb_trace_stop(self._handle)
        first = max(traced - self._size, 0)
        return [FlipTimes(*self._ring[n % self._size].at) for n in range(first, traced)]


class CardFlips:
    """The thread that reads one card's flip events."""

    def __init__(self, fd: int, path: str) -> None:
        """``fd``: the card's, whose reads block. Raises HostError."""
        c = load_flip()
        self._lib = c.lib
        self._path = path
        self._failed_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._handle = self._lib.xdb_card_new(fd, self._failed_fd)
        if not self._handle:
            number = c.ffi.errno
            os.close(self._failed_fd)
            raise HostError("the thread of a card", call="pthread_create", errno=number)

    def add(self, crtc_id: int, flips: OutputFlips) -> None:
        """Raises HostError."""
        result = self._lib.xdb_card_add(self._handle, crtc_id, flips.handle)
        if result != 0:
            raise HostError("more CRTCs than a card can have", path=self._path, errno=-result)

    async def failed(self) -> HostError:
        """Wait until events can't be read any more; why."""
        await trio.lowlevel.wait_readable(self._failed_fd)
        number = self._lib.xdb_card_failure(self._handle)
        return HostError("the device is gone", call="read", path=self._path, errno=number)

    def close(self) -> None:
        """Blocking, not for long."""
        self._lib.xdb_card_free(self._handle)
        os.close(self._failed_fd)
