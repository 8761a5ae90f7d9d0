# SPDX-License-Identifier: GPL-2.0-or-later
"""The copy path of one plane: two dumb framebuffers, filled and shown in turn.

Everything that a flip needs is laid out before: the framebuffers, one prepared commit for each, and for each
guest's frame the copy job into each.
"""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.host import DumbFramebuffer, PreparedCommit
from xendisplback.kms.geometry import Rect
from xendisplback.protocol.formats import FORMATS
from xendisplback.scanout.copy_job import CopyJob
from xendisplback.scanout.flips import FlipPart
from xendisplback.scanout.frame import Crop, Frame
from xendisplback.scanout.ladder import Way
from xendisplback.scanout.pipe import Picture
from xendisplback.scanout.stage import Stage


@dataclass(frozen=True, slots=True)
class _Back:
    framebuffer: DumbFramebuffer
    picture: Picture
    commit: PreparedCommit


class CopyBuffers:
    """The two framebuffers, black. Construction and :meth:`close`: blocking."""

    def __init__(self, stage: Stage, area: Rect, *, alike: bool, fourcc: int) -> None:
        """``alike``: no other size of picture gets on this plane while they are used. Raises HostError."""
        self.stage = stage
        self.area = area
        self.fourcc = fourcc
        self.backs: list[_Back] = []
        try:
            for _ in range(2):
                self.backs.append(self._back(alike))
        except BaseException:
            self.close()
            raise

    def _back(self, alike: bool) -> _Back:
        area = self.area
        framebuffer = self.stage.card.dumb_framebuffer(area.width, area.height, self.fourcc)
        picture = Picture(framebuffer, area)
        try:
            return _Back(framebuffer, picture, self.stage.prepare(picture, alike=alike))
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
    """One frame's way through :class:`CopyBuffers`. :meth:`show`: blocking."""

    def __init__(
        self, buffers: CopyBuffers, crop: Crop, place: Rect, frame: Frame, address: int, way: Way
    ) -> None:
        """``address``: where the CPU reads the frame's buffer."""
        self.way = way
        self.digest = 0
        """Of what :meth:`show` copied."""
        self._buffers = buffers
        self._jobs = [
            copy_job(frame, address, crop, back.framebuffer, buffers.area, place)
            for back in buffers.backs
        ]
        commits = [back.commit for back in buffers.backs]
        self.part = FlipPart(self._jobs, commits, self._jobs[0], refresh=True)

    def show(self, side: int) -> None:
        """By way of buffer ``side``. Raises HostError; EFAULT: the card vanished."""
        self.digest = self._jobs[side].run_and_digest()
        back = self._buffers.backs[side]
        self._buffers.stage.show(back.picture, back.commit)

    def close(self) -> None:
        """The buffers stay."""


def copy_job(
    frame: Frame, address: int, crop: Crop, target: DumbFramebuffer, area: Rect, place: Rect
) -> CopyJob:
    """From the guest's buffer at ``address`` to ``place`` of the screen, of which ``target`` fills ``area``."""
    layout = frame.layout
    pixel = FORMATS[target.format].bytes_per_pixel
    return CopyJob(
        address + crop.start(layout),
        layout.pitch,
        target.address + (place.y - area.y) * target.pitch + (place.x - area.x) * pixel,
        target.pitch,
        crop.width,
        crop.height,
        layout.format.fourcc,
        target.format,
        destination_width=place.width,
        destination_height=place.height,
    )
