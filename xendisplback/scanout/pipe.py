# SPDX-License-Identifier: GPL-2.0-or-later
"""The KMS objects that drive one output, and the commits that light it, show a picture, and end it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xendisplback.host import Blob, Card, Connector, Crtc, Framebuffer, Plane, PreparedCommit
from xendisplback.kms.geometry import Rect


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole framebuffer, and the part of the screen that it fills."""

    framebuffer: Framebuffer
    area: Rect

    def plane_properties(self) -> dict[str, int]:
        framebuffer = self.framebuffer
        return {
            "FB_ID": framebuffer.id,
            "CRTC_X": self.area.x,
            "CRTC_Y": self.area.y,
            "CRTC_W": self.area.width,
            "CRTC_H": self.area.height,
            # 16.16 fixed point
            "SRC_X": 0,
            "SRC_Y": 0,
            "SRC_W": framebuffer.width << 16,
            "SRC_H": framebuffer.height << 16,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Pipe:
    """All methods but :meth:`prepare_flip`: blocking. Raise HostError."""

    card: Card
    connector: Connector
    crtc: Crtc
    planes: Sequence[Plane]
    """Ours; the primary one first, then those in front of it, in order."""

    @property
    def primary(self) -> Plane:
        return self.planes[0]

    def light(self, mode: Blob, picture: Picture) -> None:
        """Set the mode with ``picture`` on the primary plane, and nothing in front of it.

        Another program may have left its cursor there.
        """
        request = self.card.atomic()
        request.add(self.connector, {"CRTC_ID": self.crtc.id})
        request.add(self.crtc, {"MODE_ID": mode.id, "ACTIVE": 1})
        request.add(self.primary, {"CRTC_ID": self.crtc.id, **picture.plane_properties()})
        for plane in self.card.planes:
            if plane in self.planes[1:] or (
                plane.crtc_id == self.crtc.id and plane not in self.planes
            ):
                request.add(plane, {"FB_ID": 0, "CRTC_ID": 0})
        request.commit(allow_modeset=True)

    def takes(self, mode: Blob, planes: Sequence[Plane], pictures: Sequence[Picture]) -> bool:
        """Whether the driver would show one picture on each of ``planes``; nothing is changed."""
        request = self.card.atomic()
        request.add(self.connector, {"CRTC_ID": self.crtc.id})
        request.add(self.crtc, {"MODE_ID": mode.id, "ACTIVE": 1})
        for plane, picture in zip(planes, pictures, strict=True):
            request.add(plane, {"CRTC_ID": self.crtc.id, **picture.plane_properties()})
        return request.test(allow_modeset=True)

    def show(self, plane: Plane, picture: Picture) -> None:
        """Show another picture on a lit output; returns when it is on screen."""
        request = self.card.atomic()
        request.add(plane, {"CRTC_ID": self.crtc.id, **picture.plane_properties()})
        request.commit()

    def hide(self, plane: Plane) -> None:
        """Returns when ``plane``'s picture is off the screen."""
        request = self.card.atomic()
        request.add(plane, {"FB_ID": 0, "CRTC_ID": 0})
        request.commit()

    def prepare_flip(self, plane: Plane, picture: Picture, *, alike: bool) -> PreparedCommit:
        """``alike``: every picture on this plane has this one's size and area, by now."""
        properties = picture.plane_properties()
        if alike:
            # What the kernel need not look up and compare is not sent.
            properties = {"FB_ID": properties["FB_ID"]}
        request = self.card.atomic()
        request.add(plane, properties)
        return request.prepare_flip(self.crtc)

    def darken(self) -> None:
        request = self.card.atomic()
        for plane in self.planes:
            request.add(plane, {"FB_ID": 0, "CRTC_ID": 0})
        request.add(self.connector, {"CRTC_ID": 0})
        request.add(self.crtc, {"MODE_ID": 0, "ACTIVE": 0})
        request.commit(allow_modeset=True)
