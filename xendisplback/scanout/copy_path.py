# SPDX-License-Identifier: GPL-2.0-or-later
"""The copy path of one output: two dumb framebuffers, filled and shown in turn.

Everything that a flip needs is laid out before: the framebuffers, one prepared commit for each, and for each
guest's frame the copy job into each.
"""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.host import DumbFramebuffer, PreparedCommit
from xendisplback.kms.mode import Mode
from xendisplback.protocol.formats import FORMATS
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.flips import FlipPath
from xendisplback.scanout.frame import Crop, Frame
from xendisplback.scanout.ladder import Way
from xendisplback.scanout.pipe import Picture, Pipe, centred


@dataclass(frozen=True, slots=True)
class _Back:
    framebuffer: DumbFramebuffer
    picture: Picture
    commit: PreparedCommit


class CopyBuffers:
    """The two framebuffers, black. Construction and :meth:`close`: blocking."""

    def __init__(self, pipe: Pipe, mode: Mode, crop: Crop, fourcc: int) -> None:
        """Raises HostError."""
        self.mode = mode
        self.fourcc = fourcc
        self.backs: list[_Back] = []
        try:
            for _ in range(2):
                self.backs.append(self._back(pipe, mode, crop, fourcc))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _back(pipe: Pipe, mode: Mode, crop: Crop, fourcc: int) -> _Back:
        framebuffer = pipe.card.dumb_framebuffer(mode.hdisplay, mode.vdisplay, fourcc)
        picture = Picture(framebuffer, 0, 0)
        try:
            return _Back(framebuffer, picture, pipe.prepare_flip(picture, crop, mode))
        except BaseException:
            framebuffer.close()
            raise

    def close(self) -> None:
        """No path uses them any more. Raises HostError."""
        for back in self.backs:
            back.commit.close()
            back.framebuffer.close()
        self.backs.clear()


class CopyPath:
    """One frame's way through an output's :class:`CopyBuffers`."""

    def __init__(
        self, buffers: CopyBuffers, crop: Crop, frame: Frame, address: int, way: Way
    ) -> None:
        """``address``: where the CPU reads the frame's buffer."""
        self.way = way
        self.digest = 0
        """Of what :meth:`picture` copied."""
        self._buffers = buffers
        self._jobs = [
            _job(back.framebuffer, buffers, crop, frame, address) for back in buffers.backs
        ]
        commits = [back.commit for back in buffers.backs]
        self.flip = FlipPath(frame.cookie, self._jobs, commits, refresh=True)

    def picture(self, side: int) -> Picture:
        """Copy now into buffer ``side``; the picture to show. Blocking. HostError EFAULT: the card vanished."""
        self.digest = self._jobs[side].run_and_digest()
        return self._buffers.backs[side].picture

    def close(self) -> None:
        """The buffers stay."""


def _job(
    target: DumbFramebuffer, buffers: CopyBuffers, crop: Crop, frame: Frame, address: int
) -> CopyJob:
    layout = frame.layout
    left, top = centred(crop, buffers.mode)
    pixel = FORMATS[buffers.fourcc].bytes_per_pixel
    return CopyJob(
        address + crop.start(layout),
        layout.pitch,
        target.address + top * target.pitch + left * pixel,
        target.pitch,
        crop.width,
        crop.height,
        layout.format.fourcc,
        buffers.fourcc,
    )
