# SPDX-License-Identifier: GPL-2.0-or-later
"""Zero copy: a framebuffer in the guest's own memory, shown by the controller itself."""

from __future__ import annotations

from xendisplback.errors import HostError
from xendisplback.host import Framebuffer
from xendisplback.kms.geometry import Geometry
from xendisplback.kms.mode import Mode
from xendisplback.scanout.flips import FlipPath
from xendisplback.scanout.frame import Crop, Frame, Lease
from xendisplback.scanout.ladder import ADD_FRAMEBUFFER, PLANE_FORMATS, Way
from xendisplback.scanout.modes import same_layout
from xendisplback.scanout.pipe import Picture, Pipe, centred


class DirectPath:
    """One frame's way. Construction and :meth:`close`: blocking."""

    digest = 0

    def __init__(
        self, pipe: Pipe, mode: Mode, crop: Crop, frame: Frame, lease: Lease, way: Way
    ) -> None:
        """Owns ``lease``, unless it raises HostError."""
        self.way = way
        self._lease = lease
        self._framebuffer = import_framebuffer(pipe, frame, crop, lease.fd)
        left, top = centred(crop, mode)
        self._picture = Picture(self._framebuffer, left, top)
        try:
            self._commit = pipe.prepare_flip(self._picture, crop, mode)
        except BaseException:
            self._framebuffer.close()
            raise
        self.flip = FlipPath(frame.cookie, [], [self._commit], refresh=pipe.plane.shadowed)

    def picture(self, side: int) -> Picture:
        return self._picture

    def close(self) -> None:
        """RmFB, then GEM close. The picture is not on screen any more. Raises HostError."""
        self._commit.close()
        try:
            self._framebuffer.close()
        finally:
            self._lease.release()


def import_framebuffer(pipe: Pipe, frame: Frame, crop: Crop, dmabuf: int) -> Framebuffer:
    """With the pitch that we inferred, or the next one that explains the buffer's size as well.

    It begins at the crop's first pixel: not every driver shows a part of a framebuffer (bochs: a black screen).
    Raises HostError: the first refusal.
    """
    refused: HostError | None = None
    for layout in (frame.layout, *frame.others):
        usable = [code for code in same_layout(layout.format) if code in pipe.plane.formats]
        if not usable:
            raise HostError(f"the plane does not take {layout.format.name}", call=PLANE_FORMATS)
        geometry = Geometry(crop.width, crop.height, layout.pitch, crop.start(layout), usable[0])
        try:
            return pipe.card.import_framebuffer(dmabuf, geometry)
        except HostError as error:
            refused = refused or error
            if error.call != ADD_FRAMEBUFFER:
                break
    assert refused is not None
    raise refused
