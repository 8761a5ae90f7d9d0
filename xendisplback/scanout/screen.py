# SPDX-License-Identifier: GPL-2.0-or-later
"""A lit output: its mode, its background, and the planes that its layers' pictures are on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xendisplback.host import Blob, DumbFramebuffer, Plane
from xendisplback.kms.geometry import Rect
from xendisplback.kms.mode import Mode
from xendisplback.scanout.fit import DEFAULT_REFRESH, refresh_rate
from xendisplback.scanout.pipe import Picture, Pipe
from xendisplback.scanout.plane_format import XRGB8888
from xendisplback.scanout.safe import SafePicture


@dataclass(frozen=True, slots=True)
class Background(Picture):
    framebuffer: DumbFramebuffer


class Screen:
    """All methods: blocking, one at a time, while no flip is on its way to it."""

    def __init__(self, pipe: Pipe, mode: Mode, safe: SafePicture) -> None:
        """Nothing is on screen before the first picture is."""
        self.pipe = pipe
        self.mode = mode
        self.area = Rect(0, 0, mode.hdisplay, mode.vdisplay)
        self._safe = safe
        self._mode_blob: Blob | None = None
        self._background: DumbFramebuffer | None = None

    @property
    def lit(self) -> bool:
        return self._mode_blob is not None

    def show(self, plane: Plane, picture: Picture) -> None:
        """Returns when it is on screen; the first one, on the primary plane, sets the mode. Raises HostError."""
        if self._mode_blob is not None:
            self.pipe.show(plane, picture)
            return
        blob = self.pipe.card.mode_blob(self.mode)
        try:
            self.pipe.light(blob, picture)
        except BaseException:
            blob.close()
            raise
        self._mode_blob = blob

    @property
    def refresh_rate(self) -> float:
        """Hz."""
        return refresh_rate(self.mode) or DEFAULT_REFRESH

    def takes(self, planes: Sequence[Plane], pictures: Sequence[Picture]) -> bool:
        """Whether the driver would show them all. Raises HostError."""
        blob = self.pipe.card.mode_blob(self.mode)
        try:
            return self.pipe.takes(blob, planes, pictures)
        finally:
            blob.close()

    def show_background(self) -> None:
        """The safe picture on the primary plane. Raises HostError."""
        self.show(self.pipe.primary, self.background())

    def background(self) -> Background:
        """Raises HostError."""
        if self._background is None:
            primary, area = self.pipe.primary, self.area
            fourcc = XRGB8888 if XRGB8888 in primary.formats else min(primary.formats)
            framebuffer = self.pipe.card.dumb_framebuffer(area.width, area.height, fourcc)
            if fourcc == XRGB8888:
                self._safe.paint(framebuffer.address, framebuffer.pitch, area.width, area.height)
            self._background = framebuffer
        return Background(self._background, self.area)

    def darken(self) -> None:
        """Switch the CRTC off. Raises HostError."""
        blob, self._mode_blob = self._mode_blob, None
        if blob is not None:
            try:
                self.pipe.darken()
            finally:
                blob.close()

    def close(self) -> None:
        """It is dark. Raises HostError."""
        if self._background is not None:
            self._background.close()
