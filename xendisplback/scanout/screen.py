# SPDX-License-Identifier: GPL-2.0-or-later
"""A lit output: its mode, and the way of each frame that it can flip to.

Everything that a flip needs is made when a frame is shown for the first time; a flip then is one look-up and
one call.
"""

from __future__ import annotations

import contextlib

from xendisplback.host import Blob
from xendisplback.kms.mode import Mode
from xendisplback.scanout.copy_job import can_convert
from xendisplback.scanout.copy_path import CopyBuffers, CopyPath
from xendisplback.scanout.direct_path import DirectPath
from xendisplback.scanout.flips import OutputFlips
from xendisplback.scanout.frame import Crop, Frame, Lease
from xendisplback.scanout.ladder import Way
from xendisplback.scanout.modes import choose_format
from xendisplback.scanout.pipe import Pipe

Path = DirectPath | CopyPath


class Screen:
    """All methods but :meth:`path` and :meth:`shows`: blocking, one at a time, while ``flips`` is still."""

    def __init__(self, pipe: Pipe, mode: Mode, crop: Crop, flips: OutputFlips) -> None:
        """Nothing is on screen yet."""
        self.mode = mode
        self.crop = crop
        self._pipe = pipe
        self._flips = flips
        self._paths: dict[Frame, Path] = {}
        self._copy_buffers: CopyBuffers | None = None
        self._mode_blob: Blob | None = None

    def path(self, frame: Frame) -> Path | None:
        """How a flip shows ``frame``; None: it has not been shown yet."""
        return self._paths.get(frame)

    def shows(self, frame: Frame) -> bool:
        """Whether ``frame`` is on screen."""
        path = self._paths.get(frame)
        return path is not None and self._flips.shows(path.flip)

    def show_directly(self, frame: Frame, lease: Lease, way: Way) -> None:
        """The path owns ``lease``, unless it raises HostError: what was refused, by its call."""
        path = DirectPath(self._pipe, self.mode, self.crop, frame, lease, way)
        try:
            self._show(path)
        except BaseException:
            path.close()
            raise
        self._enter(frame, path)

    def show_by_copy(self, frame: Frame, address: int, way: Way) -> None:
        """Raises HostError, RequestError EINVAL where the plane takes no format that we can convert to."""
        fourcc = choose_format(frame.layout.format, self._pipe.plane.formats, can_convert)
        buffers = self._copy_buffers
        if buffers is None or buffers.fourcc != fourcc:
            buffers = CopyBuffers(self._pipe, self.mode, self.crop, fourcc)
        path = CopyPath(buffers, self.crop, frame, address, way)
        try:
            self._show(path)
        except BaseException:
            if buffers is not self._copy_buffers:
                buffers.close()
            raise
        # Only now: RmFB of what is on screen switches it off.
        self._replace_copy_buffers(buffers)
        self._enter(frame, path)

    def _enter(self, frame: Frame, path: Path) -> None:
        """``path`` is on screen; the one that it replaces is not any more."""
        self.forget(frame)
        self._paths[frame] = path
        self._flips.add(path.flip)

    def show_again(self, frame: Frame) -> None:
        """``frame`` has a path. Raises HostError."""
        self._show(self._paths[frame])

    def _show(self, path: Path) -> None:
        picture = path.picture(self._flips.side)
        if self._mode_blob is None:
            blob = self._pipe.card.mode_blob(self.mode)
            try:
                self._pipe.light(blob, picture)
            except BaseException:
                blob.close()
                raise
            self._mode_blob = blob
        else:
            self._pipe.show(picture)
        self._flips.shown(path.flip, path.digest)

    def _replace_copy_buffers(self, buffers: CopyBuffers) -> None:
        old, self._copy_buffers = self._copy_buffers, buffers
        if old is not None and old is not buffers:
            copying = [f for f, path in self._paths.items() if isinstance(path, CopyPath)]
            for frame in copying:
                self.forget(frame)
            old.close()

    def forget(self, frame: Frame) -> None:
        """``frame``'s memory goes away; it is not on screen. Raises HostError."""
        path = self._paths.pop(frame, None)
        if path is not None:
            self._flips.remove(path.flip)
            path.close()

    def close(self) -> None:
        """Switch the CRTC off, then framebuffers and mode. Raises HostError, with everything closed."""
        with contextlib.ExitStack() as stack:
            # Run from the last to the first, whatever one of them raises.
            if self._mode_blob is not None:
                stack.callback(self._mode_blob.close)
            if self._copy_buffers is not None:
                stack.callback(self._copy_buffers.close)
            for path in self._paths.values():
                stack.callback(path.close)
            self._paths = {}
            if self._mode_blob is not None:
                self._pipe.darken()
