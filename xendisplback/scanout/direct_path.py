# SPDX-License-Identifier: GPL-2.0-or-later
"""Zero copy: a framebuffer in the guest's own memory, shown by the controller itself."""

from __future__ import annotations

from xendisplback.errors import HostError
from xendisplback.host import Card, Framebuffer, Plane
from xendisplback.kms.geometry import Geometry, Rect
from xendisplback.scanout.flips import FlipPart
from xendisplback.scanout.frame import Crop, Frame, Lease
from xendisplback.scanout.ladder import ADD_FRAMEBUFFER, PLANE_FORMATS, Way
from xendisplback.scanout.pipe import Picture
from xendisplback.scanout.plane_format import same_layout
from xendisplback.scanout.stage import Stage


class DirectPath:
    """One frame's way. Construction, :meth:`show` and :meth:`close`: blocking."""

    digest = 0

    def __init__(
        self,
        stage: Stage,
        crop: Crop,
        place: Rect,
        frame: Frame,
        lease: Lease,
        way: Way,
        *,
        alike: bool,
    ) -> None:
        """``alike``: see :meth:`Stage.prepare`. Owns ``lease``, unless it raises HostError."""
        self.way = way
        self._stage = stage
        self._lease = lease
        self._framebuffer = import_framebuffer(stage.card, stage.plane, frame, crop, lease.fd)
        self._picture = Picture(self._framebuffer, place)
        try:
            self._commit = stage.prepare(self._picture, alike=alike)
        except BaseException:
            self._framebuffer.close()
            raise
        self.part = FlipPart([], [self._commit], None, refresh=stage.plane.shadowed)

    def show(self, side: int) -> None:
        """Raises HostError."""
        self._stage.show(self._picture, self._commit)

    def close(self) -> None:
        """RmFB, then GEM close. The picture is not on screen any more. Raises HostError."""
        self._commit.close()
        try:
            self._framebuffer.close()
        finally:
            self._lease.release()


def import_framebuffer(
    card: Card, plane: Plane, frame: Frame, crop: Crop, dmabuf: int
) -> Framebuffer:
    """With the pitch that we inferred, or the next one that explains the buffer's size as well.

    It begins at the crop's first pixel: not every driver shows a part of a framebuffer (bochs: a black screen).
    Raises HostError: the first refusal.
    """
    refused: HostError | None = None
    for layout in (frame.layout, *frame.others):
        usable = [code for code in same_layout(layout.format) if code in plane.formats]
        if not usable:
            raise HostError(f"the plane does not take {layout.format.name}", call=PLANE_FORMATS)
        geometry = Geometry(crop.width, crop.height, layout.pitch, crop.start(layout), usable[0])
        try:
            return card.import_framebuffer(dmabuf, geometry)
        except HostError as error:
            refused = refused or error
            if error.call != ADD_FRAMEBUFFER:
                break
    assert refused is not None
    raise refused
