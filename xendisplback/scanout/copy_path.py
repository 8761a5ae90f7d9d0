# SPDX-License-Identifier: GPL-2.0-or-later
"""The copy path of one output: two dumb framebuffers, filled and shown in turn.

Everything that a flip needs is laid out when the output is lit: the framebuffers, one prepared commit for
each, and, the first time a guest's frame is shown, the copy job into each. A flip then costs the wake-up of
the copier's thread, which copies and submits the commit itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.host import Blob, Card, Connector, Crtc, DumbFramebuffer, Plane, PreparedCommit
from xendisplback.kms.mode import Mode
from xendisplback.protocol.formats import FORMATS
from xendisplback.scanout.copier import Copier, CopyJob, can_convert
from xendisplback.scanout.frame import Frame


@dataclass(frozen=True, slots=True)
class Pipe:
    """The KMS objects that drive one output."""

    card: Card
    connector: Connector
    crtc: Crtc
    plane: Plane


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a guest's frame that is shown, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def inside(self, frame: Frame) -> bool:
        layout = frame.layout
        return self.x + self.width <= layout.width and self.y + self.height <= layout.height


@dataclass(slots=True)
class _Back:
    framebuffer: DumbFramebuffer
    commit: PreparedCommit
    jobs: dict[Frame, CopyJob]


class CopyPath:
    """Lit from construction to :meth:`close`. Construction, :meth:`light`, :meth:`close`: blocking."""

    def __init__(self, pipe: Pipe, mode: Mode, crop: Crop, fourcc: int, copier: Copier) -> None:
        self.mode = mode
        self.crop = crop
        self.fourcc = fourcc
        self._pipe = pipe
        self._copier = copier
        self._mode_blob: Blob | None = None
        self._backs: list[_Back] = []
        self._next = 0
        try:
            self._allocate()
        except BaseException:
            self._free()
            raise

    def _allocate(self) -> None:
        pipe, mode = self._pipe, self.mode
        self._mode_blob = pipe.card.mode_blob(mode)
        for _ in range(2):
            framebuffer = pipe.card.dumb_framebuffer(mode.hdisplay, mode.vdisplay, self.fourcc)
            try:
                request = pipe.card.atomic()
                request.add(pipe.plane, {"FB_ID": framebuffer.id})
                commit = request.prepare_flip(pipe.crtc)
            except BaseException:
                framebuffer.close()
                raise
            self._backs.append(_Back(framebuffer, commit, {}))

    def shows(self, frame: Frame) -> bool:
        """Whether :meth:`flip` can show ``frame`` as the path is: it holds the crop, its format converts."""
        return self.crop.inside(frame) and can_convert(frame.layout.format.fourcc, self.fourcc)

    def _job(self, back: _Back, frame: Frame) -> CopyJob:
        job = back.jobs.get(frame)
        if job is None:
            crop, layout, target = self.crop, frame.layout, back.framebuffer
            # A mode larger than the picture shows it in the middle; the border stays black.
            left = (self.mode.hdisplay - crop.width) // 2
            top = (self.mode.vdisplay - crop.height) // 2
            pixel = FORMATS[self.fourcc].bytes_per_pixel
            job = back.jobs[frame] = CopyJob(
                frame.address + crop.y * layout.pitch + crop.x * layout.format.bytes_per_pixel,
                layout.pitch,
                target.address + top * target.pitch + left * pixel,
                target.pitch,
                crop.width,
                crop.height,
                layout.format.fourcc,
                self.fourcc,
            )
        return job

    def light(self, frame: Frame) -> None:
        """Copy ``frame`` and set the mode with it on screen."""
        pipe, back = self._pipe, self._backs[self._next]
        self._job(back, frame).run()
        assert self._mode_blob is not None
        request = pipe.card.atomic()
        request.add(pipe.connector, {"CRTC_ID": pipe.crtc.id})
        request.add(pipe.crtc, {"MODE_ID": self._mode_blob.id, "ACTIVE": 1})
        width, height = self.mode.hdisplay, self.mode.vdisplay
        request.add(
            pipe.plane,
            {
                "FB_ID": back.framebuffer.id,
                "CRTC_ID": pipe.crtc.id,
                "CRTC_X": 0,
                "CRTC_Y": 0,
                "CRTC_W": width,
                "CRTC_H": height,
                "SRC_X": 0,
                "SRC_Y": 0,
                "SRC_W": width << 16,
                "SRC_H": height << 16,
            },
        )
        request.commit(allow_modeset=True)
        self._next ^= 1

    def flip(self, frame: Frame) -> None:
        """Start copying ``frame`` and let the copier commit it; the card's flip event tells when it is shown."""
        back = self._backs[self._next]
        self._copier.start(self._job(back, frame), back.commit)

    def shown(self) -> None:
        """The last :meth:`flip` is on screen: the other buffer is free."""
        self._next ^= 1

    def forget(self, frame: Frame) -> None:
        """``frame``'s memory goes away. Only while the copier is idle."""
        for back in self._backs:
            back.jobs.pop(frame, None)

    def close(self) -> None:
        """Switch the CRTC off, then commits, framebuffers, mode. Only while the copier is idle."""
        pipe = self._pipe
        try:
            request = pipe.card.atomic()
            request.add(pipe.plane, {"FB_ID": 0, "CRTC_ID": 0})
            request.add(pipe.connector, {"CRTC_ID": 0})
            request.add(pipe.crtc, {"MODE_ID": 0, "ACTIVE": 0})
            request.commit(allow_modeset=True)
        finally:
            self._free()

    def _free(self) -> None:
        for back in self._backs:
            back.commit.close()
            back.framebuffer.close()
        self._backs.clear()
        if self._mode_blob is not None:
            self._mode_blob.close()
            self._mode_blob = None
