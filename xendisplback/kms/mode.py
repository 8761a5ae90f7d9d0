# SPDX-License-Identifier: GPL-2.0-or-later
"""A display mode, as in the kernel's ``struct drm_mode_modeinfo`` (drm_mode.h). No libdrm."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True)
class Mode:
    clock: int
    """kHz."""
    hdisplay: int
    hsync_start: int
    hsync_end: int
    htotal: int
    hskew: int
    vdisplay: int
    vsync_start: int
    vsync_end: int
    vtotal: int
    vscan: int
    vrefresh: int
    """Hz, rounded by the kernel."""
    flags: int
    type: int
    name: str

    LAYOUT: ClassVar[struct.Struct] = struct.Struct("=I10H3I32s")
    TYPE_PREFERRED: ClassVar[int] = 1 << 3

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """From the 68 bytes of ``struct drm_mode_modeinfo``."""
        *fields, name = cls.LAYOUT.unpack(raw)
        fields.append(name.split(b"\0", 1)[0].decode("ascii", "replace"))
        return cls(*fields)

    def pack(self) -> bytes:
        """The 68 bytes that a MODE_ID blob holds."""
        return self.LAYOUT.pack(
            self.clock,
            self.hdisplay,
            self.hsync_start,
            self.hsync_end,
            self.htotal,
            self.hskew,
            self.vdisplay,
            self.vsync_start,
            self.vsync_end,
            self.vtotal,
            self.vscan,
            self.vrefresh,
            self.flags,
            self.type,
            self.name.encode("ascii", "replace"),
        )

    @property
    def preferred(self) -> bool:
        return bool(self.type & self.TYPE_PREFERRED)

    def __str__(self) -> str:
        return f"{self.hdisplay}x{self.vdisplay}@{self.vrefresh}"
