# SPDX-License-Identifier: GPL-2.0-or-later
"""The KMS objects that drive one output, and the commits that light it, show a picture, and end it."""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.host import Blob, Card, Connector, Crtc, Framebuffer, Plane, PreparedCommit
from xendisplback.kms.mode import Mode
from xendisplback.scanout.frame import Crop


@dataclass(frozen=True, slots=True)
class Picture:
    """A framebuffer, and the place of its upper left corner on the screen."""

    framebuffer: Framebuffer
    left: int
    top: int

    def plane_properties(self) -> dict[str, int]:
        framebuffer = self.framebuffer
        return {
            "FB_ID": framebuffer.id,
            "CRTC_X": self.left,
            "CRTC_Y": self.top,
            "CRTC_W": framebuffer.width,
            "CRTC_H": framebuffer.height,
            # 16.16 fixed point
            "SRC_X": 0,
            "SRC_Y": 0,
            "SRC_W": framebuffer.width << 16,
            "SRC_H": framebuffer.height << 16,
        }


@dataclass(frozen=True, slots=True)
class Pipe:
    card: Card
    connector: Connector
    crtc: Crtc
    plane: Plane

    def light(self, mode: Blob, picture: Picture) -> None:
        """Set the mode with ``picture`` on screen. Blocking. Raises HostError."""
        request = self.card.atomic()
        request.add(self.connector, {"CRTC_ID": self.crtc.id})
        request.add(self.crtc, {"MODE_ID": mode.id, "ACTIVE": 1})
        request.add(self.plane, {"CRTC_ID": self.crtc.id, **picture.plane_properties()})
        request.commit(allow_modeset=True)

    def show(self, picture: Picture) -> None:
        """Show another picture on a lit output. Blocking, until it is on screen. Raises HostError."""
        request = self.card.atomic()
        request.add(self.plane, picture.plane_properties())
        request.commit()

    def prepare_flip(self, picture: Picture, crop: Crop, mode: Mode) -> PreparedCommit:
        """From any picture of ``crop`` that this mode shows to ``picture``."""
        properties = picture.plane_properties()
        if (crop.width, crop.height) == (mode.hdisplay, mode.vdisplay):
            # Each of them covers the screen: what the kernel need not look up and compare is not sent.
            properties = {"FB_ID": properties["FB_ID"]}
        request = self.card.atomic()
        request.add(self.plane, properties)
        return request.prepare_flip(self.crtc)

    def darken(self) -> None:
        """Blocking. Raises HostError."""
        request = self.card.atomic()
        request.add(self.plane, {"FB_ID": 0, "CRTC_ID": 0})
        request.add(self.connector, {"CRTC_ID": 0})
        request.add(self.crtc, {"MODE_ID": 0, "ACTIVE": 0})
        request.commit(allow_modeset=True)


def centred(crop: Crop, mode: Mode) -> tuple[int, int]:
    """A mode larger than the picture shows it in the middle; the border stays black."""
    return (mode.hdisplay - crop.width) // 2, (mode.vdisplay - crop.height) // 2
