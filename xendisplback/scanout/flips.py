# SPDX-License-Identifier: GPL-2.0-or-later
"""The hot path's C (cffi_build/flip_scanout.c, flip_card.c) as Python sees it.

A flip runs in two C threads and never comes by here: the channel's begins, copies and commits it, the card's
ends it. Here is everything rare: which framebuffers there are and how each is shown, and having it to oneself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from xendisplback._ext import load_flip
from xendisplback.errors import HostError
from xendisplback.host import PreparedCommit
from xendisplback.scanout.copy_job import CopyJob

if TYPE_CHECKING:
    from xendisplback._ext import _flip
    from xendisplback.scanout.mix import Mix


STUCK_SECONDS: Final = 1.0
"""How long a flip event may take, as in C (XDB_STUCK_MS; a test compares)."""


def new_eventfd() -> int:
    """For C to say something to Python's loop. Raises HostError."""
    try:
        return os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    except OSError as error:
        raise HostError("no file descriptor is left", call="eventfd", errno=error.errno) from None


@dataclass(frozen=True, slots=True, eq=False)
class FlipPart:
    """How C shows one framebuffer on one output. It stays as it is while a :class:`FlipPath` has it."""

    jobs: Sequence[CopyJob]
    """Copies into either of two buffers; none where nothing is copied here."""
    commits: Sequence[PreparedCommit]
    """What shows either buffer; one where nothing is copied here."""
    look: CopyJob | None
    """What is read of the guest's memory, if it is."""
    refresh: bool
    """What the guest draws into the framebuffer while it is on screen is not seen by itself."""


class FlipPath:
    """How C shows one framebuffer."""

    def __init__(self, fb_cookie: int, parts: Sequence[FlipPart]) -> None:
        """``parts``: one for each output that it is shown on, at most :data:`MAX_PARTS`."""
        # Referenced, because the struct does not keep what it points to.
        self._keep = tuple(parts)
        self.struct = path = load_flip().ffi.new("struct xdb_path *")
        path.fb_cookie = fb_cookie
        path.count = len(parts)
        for number, part in enumerate(parts):
            struct = path.parts[number]
            for side, job in enumerate(part.jobs):
                struct.jobs[side] = job.struct
            struct.commit = part.commits[0].function
            struct.arguments = [part.commits[0].argument, part.commits[-1].argument]
        looks = [part.look for part in parts if part.look is not None]
        self.look = looks[0] if looks else None
        """What is read of the guest's memory, if it is."""
        if self.look is not None:
            path.look = self.look.struct
        path.refresh = any(part.refresh for part in parts)


class Scanout:
    """What of one guest's connector is on its way to the screens.

    At most one flip or refresh is, and none begins while it is paused. Methods that change paths: while paused and
    after :meth:`wait` said so.
    """

    def __init__(self, refresh_rate: float) -> None:
        """``refresh_rate``: Hz at which the picture is looked at while its guest does not flip; 0: never."""
        c = load_flip()
        self._lib = c.lib
        self._pauses = 0
        self.handle = self._lib.xdb_scanout_new(round(1000 / refresh_rate) if refresh_rate else 0)
        if not self.handle:
            raise HostError("a scanout", call="calloc", errno=errno.ENOMEM)

    def pause(self) -> None:
        """From now on, until each pause was resumed, the channel hands each flip to Python."""
        self._pauses += 1
        self._lib.xdb_scanout_pause(self.handle)

    def resume(self) -> None:
        self._pauses -= 1
        if not self._pauses:
            self._lib.xdb_scanout_resume(self.handle)

    def wait(self, seconds: float) -> bool:
        """Whether nothing is on its way any more, within ``seconds``. Blocking."""
        return bool(self._lib.xdb_scanout_wait(self.handle, round(seconds * 1000)))

    def stop(self) -> None:
        """Forget all paths at once: a card is gone or stuck. :meth:`abandon` comes next."""
        self._lib.xdb_scanout_stop(self.handle)

    def abandon(self) -> None:
        """End what is on its way, with its event. Blocking while it is copied or committed."""
        self._lib.xdb_scanout_abandon(self.handle)

    def add(self, path: FlipPath) -> None:
        """``path`` stays as it is until :meth:`remove` or :meth:`stop`. It replaces one with its cookie."""
        if self._lib.xdb_scanout_add(self.handle, path.struct) != 0:
            raise HostError("a framebuffer's path", call="realloc", errno=errno.ENOMEM)

    def remove(self, path: FlipPath) -> None:
        self._lib.xdb_scanout_remove(self.handle, path.struct)

    def shown(self, path: FlipPath, digest: int) -> None:
        """Commits of Python's show ``path`` now; ``digest``: that of its copied picture."""
        self._lib.xdb_scanout_shown(self.handle, path.struct, digest)

    def shows(self, path: FlipPath) -> bool:
        return self._lib.xdb_scanout_path(self.handle) == path.struct

    @property
    def side(self) -> int:
        """Which of two copy buffers is not on screen, 0 or 1."""
        return self._lib.xdb_scanout_side(self.handle)

    @property
    def refused(self) -> int:
        """A bit for each part that its card refused last."""
        return self._lib.xdb_scanout_refused(self.handle)

    @property
    def awaited(self) -> int:
        """A bit for each part whose flip event is to come."""
        return self._lib.xdb_scanout_awaited(self.handle)

    @property
    def flips(self) -> int:
        return self._lib.xdb_scanout_flips(self.handle)

    @property
    def copies(self) -> int:
        """Pictures copied by flips and refreshes."""
        return self._lib.xdb_scanout_copies(self.handle)

    @property
    def pictures(self) -> int:
        """Pictures shown, by flips and by refreshes of what had changed."""
        return self._lib.xdb_scanout_pictures(self.handle)

    def trace(self, size: int) -> FlipTrace:
        """From now on keep the times of the last ``size`` flips; in place of an earlier trace."""
        return FlipTrace(self.handle, size)

    def close(self) -> None:
        """Its channel is closed, and no card or mix tells it of flips."""
        self._lib.xdb_scanout_free(self.handle)


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
    """Made by :meth:`Scanout.trace`."""

    def __init__(self, handle: _flip.xdb_scanout, size: int) -> None:
        c = load_flip()
        self._lib = c.lib
        self._handle = c.lib.xdb_scanout_trace(handle)
        self._size = size
        self._ring = c.ffi.new("struct xdb_flip_times[]", size)
        self._lib.xdb_trace_start(self._handle, self._ring, size)

    def close(self) -> list[FlipTimes]:
        """End it; what was traced, oldest first. Before its scanout is closed."""
        traced = self._lib.xdb_trace_stop(self._handle)
        first = max(traced - self._size, 0)
        return [FlipTimes(*self._ring[n % self._size].at) for n in range(first, traced)]


class CardFlips:
    """The thread that reads one card's flip events."""

    def __init__(self, fd: int, path: str) -> None:
        """``fd``: the card's, whose reads block. Raises HostError."""
        c = load_flip()
        self._lib = c.lib
        self._null = c.ffi.NULL
        self._path = path
        self._failed_fd = new_eventfd()
        self._handle = self._lib.xdb_card_new(fd, self._failed_fd)
        if not self._handle:
            number = c.ffi.errno
            os.close(self._failed_fd)
            raise HostError("the thread of a card", call="pthread_create", errno=number)

    def tell(self, crtc_id: int, scanout: Scanout | None, part: int = 0) -> None:
        """Flip events of the CRTC are for that part of ``scanout`` from now on; None: for nobody.

        Raises HostError.
        """
        handle = scanout.handle if scanout is not None else self._null
        self._check(self._lib.xdb_card_tell(self._handle, crtc_id, handle, part))

    def tell_mix(self, crtc_id: int, mix: Mix | None) -> None:
        """As :meth:`tell`, for the CRTC of several layers."""
        handle = mix.handle if mix is not None else self._null
        self._check(self._lib.xdb_card_tell_mix(self._handle, crtc_id, handle))

    def _check(self, result: int) -> None:
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
