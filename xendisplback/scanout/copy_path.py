# SPDX-License-Identifier: GPL-2.0-or-later
"""The copy path of one output: two dumb framebuffers, filled and shown in turn.

Everything that a flip needs is laid out before: the framebuffers, one prepared commit for each, and for each
guest's frame the copy job into each. A flip then costs the wake-up of the copier's thread, which copies and
submits the commit itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.host import DumbFramebuffer, PreparedCommit
from xendisplback.kms.mode import Mode
from xendisplback.protocol.formats import FORMATS
from xendisplback.scanout.copier import Copier, CopyJob
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

    def __init__(self, pipe: Pipe, mode: Mode, fourcc: int) -> None:
        """Raises HostError."""
        self.mode = mode
        self.fourcc = fourcc
        self.backs: list[_Back] = []
        self.next = 0
        """The index of the one that is not on screen."""
        try:
            for _ in range(2):
                self.backs.append(self._back(pipe, mode, fourcc))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _back(pipe: Pipe, mode: Mode, fourcc: int) -> _Back:
        framebuffer = pipe.card.dumb_framebuffer(mode.hdisplay, mode.vdisplay, fourcc)
        picture = Picture(framebuffer, 0, 0)
        try:
            return _Back(framebuffer, picture, pipe.prepare_flip(picture))
        except BaseException:
            framebuffer.close()
            raise

    def close(self) -> None:
        """Only while the copier is idle. Raises HostError."""
        for back in self.backs:
            back.commit.close()
            back.framebuffer.close()
        self.backs.clear()


class CopyPath:
    """One frame's way through an output's :class:`CopyBuffers`."""

    copies = True

    def __init__(
        self, buffers: CopyBuffers, copier: Copier, crop: Crop, frame: Frame, address: int, way: Way
    ) -> None:
        """``address``: where the CPU reads the frame's buffer."""
        self._copier = copier
        self.way = way
        self.buffers = buffers
        self._jobs = [
            _job(back.framebuffer, buffers, crop, frame, address) for back in buffers.backs
        ]

    def picture(self) -> Picture:
        """Copy now; the picture to show. Blocking. Raises HostError EFAULT where the card vanished."""
        self._jobs[self.buffers.next].run()
        return self.buffers.backs[self.buffers.next].picture

    def flip(self) -> int:
        """Start copying; the copier commits. 0: what the card says of the commit, the copier tells."""
        at = self.buffers.next
        self._copier.start(self._jobs[at], self.buffers.backs[at].commit)
        return 0

    def shown(self) -> None:
        """The picture of :meth:`picture` or :meth:`flip` is on screen: the other framebuffer is free."""
        self.buffers.next ^= 1

    def close(self) -> None:
        """Only while the copier is idle. The buffers stay."""
        self._jobs.clear()


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
