# SPDX-License-Identifier: GPL-2.0-or-later
"""Several guests on one output (cffi_build/flip_mix.c) as Python sees it.

A :class:`MixPicture` is a commit to the scanout that shows it, as if the output were the guest's alone. The mix's
thread puts what is ready into one commit; none of it comes by here.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import trio

from xendisplback._ext import load_flip
from xendisplback.errors import HostError
from xendisplback.host import PreparedCommit
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.flips import STUCK_SECONDS, Scanout, new_eventfd


class MixPicture:
    """How one framebuffer gets into a mix. It stays as it is while a path or the mix has it."""

    def __init__(
        self,
        mix: Mix,
        layer: int,
        place: Rect,
        commit: PreparedCommit | None = None,
        jobs: Sequence[CopyJob] = (),
    ) -> None:
        """``layer``: 0 is the lowest. On a plane: ``commit`` shows it there. Composed: ``jobs`` copy it to
        ``place`` of either buffer.
        """
        c = load_flip()
        self._keep = (commit, tuple(jobs))
        self.layer = layer
        self.struct = picture = c.ffi.new("struct xdb_mix_picture *")
        picture.mix = mix.handle
        picture.layer = layer
        if commit is not None:
            picture.argument = commit.argument
        for side, job in enumerate(jobs):
            picture.jobs[side] = job.struct
        picture.place = [place.x, place.y, place.width, place.height]
        # As a PreparedCommit:
        self.function = int(c.ffi.cast("uintptr_t", c.ffi.addressof(c.lib, "xdb_mix_submit")))
        self.argument = int(c.ffi.cast("uintptr_t", picture))

    def close(self) -> None:
        """The card's commit is closed by who prepared it."""


class Mix:
    """One CRTC whose commits show several layers. At most one commit is in flight."""

    def __init__(
        self,
        submit: int,
        layers: int,
        refresh_rate: float,
        composed: Sequence[PreparedCommit] = (),
    ) -> None:
        """``submit``: the function of the card's prepared commits; ``composed``: those that show either
        buffer, where layers are composed; ``refresh_rate``: the mode's, Hz. Raises HostError.
        """
        c = load_flip()
        self._lib = c.lib
        self._null = c.ffi.NULL
        self._attention_fd = new_eventfd()
        first, second = [commit.argument for commit in composed] or [0, 0]
        period_ns = round(1e9 / refresh_rate)
        self.handle = c.lib.xdb_mix_new(
            submit, first, second, layers, period_ns, self._attention_fd
        )
        if not self.handle:
            number = c.ffi.errno
            os.close(self._attention_fd)
            raise HostError(f"an output with {layers} layers", call="calloc", errno=number)
        result = c.lib.xdb_mix_start(self.handle)
        if result != 0:
            self.close()
            raise HostError("the thread of an output", call="pthread_create", errno=-result)

    def tell(self, layer: int, scanout: Scanout | None, part: int = 0) -> None:
        """The layer's flip events are for that part of ``scanout`` from now on; None: for nobody."""
        handle = scanout.handle if scanout is not None else self._null
        self._lib.xdb_mix_tell(self.handle, layer, handle, part)

    def pause(self) -> None:
        """From now on, until each pause was resumed, what becomes ready waits."""
        self._lib.xdb_mix_pause(self.handle)

    def resume(self) -> None:
        self._lib.xdb_mix_resume(self.handle)

    def wait(self, seconds: float) -> bool:
        """Whether nothing is on its way any more, within ``seconds``. Blocking."""
        return bool(self._lib.xdb_mix_wait(self.handle, round(seconds * 1000)))

    @contextmanager
    def still(self) -> Generator[None, None, None]:
        """Paused and idle. Blocking; raises HostError where a commit does not end."""
        self.pause()
        try:
            if not self.wait(STUCK_SECONDS):
                raise HostError(f"no flip event within {STUCK_SECONDS:g} s")
            yield
        finally:
            self.resume()

    def compose(self, picture: MixPicture | None) -> int:
        """While paused and idle: draw what is on screen, with ``picture`` in place of its layer's.

        Into the buffer that is not on screen, 0 or 1, for the caller to show. Blocking; raises HostError.
        """
        side = self._lib.xdb_mix_compose(self.handle, picture.struct if picture else self._null)
        if side < 0:
            raise HostError("the card's memory vanished while it was written to", errno=-side)
        return side

    def shown(self, picture: MixPicture | None) -> None:
        """While paused and idle: a commit of the caller's shows ``picture``, or what it just composed."""
        self._lib.xdb_mix_shown(self.handle, picture.struct if picture else self._null)

    def remove(self, layer: int) -> None:
        """Forget the layer's pictures, before their memory goes away. Blocking while they are copied."""
        self._lib.xdb_mix_remove(self.handle, layer)

    @property
    def commits(self) -> int:
        return self._lib.xdb_mix_commits(self.handle)

    @property
    def copies(self) -> int:
        """Pictures copied by commits and :meth:`compose`."""
        return self._lib.xdb_mix_copies(self.handle)

    async def refused(self) -> int:
        """Wait until a commit was refused; its errno. No commit is made any more."""
        await trio.lowlevel.wait_readable(self._attention_fd)
        return self._lib.xdb_mix_error(self.handle)

    def close(self) -> None:
        """No card and no scanout knows it any more. Blocking while something is composed or committed."""
        self._lib.xdb_mix_free(self.handle)
        os.close(self._attention_fd)
