# SPDX-License-Identifier: GPL-2.0-or-later
"""The pixel formats that the Linux frontend offers, by FourCC (drm_fourcc.h)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


def fourcc(name: str) -> int:
    """The code of a four-character name: ``fourcc("XR24")``."""
    return int.from_bytes(name.encode("ascii"), "little")


def fourcc_name(code: int) -> str:
    """The four characters of ``code`` for a log line; what is not printable is shown as ``0x…``."""
    raw = (code & 0xFFFFFFFF).to_bytes(4, "little")
    return raw.decode("ascii") if all(0x20 < byte < 0x7F for byte in raw) else f"{code:#010x}"


@dataclass(frozen=True, slots=True)
class Format:
    name: str
    """The four characters."""
    kernel_name: str
    bytes_per_pixel: int
    opaque_name: str
    """The format with the same layout whose alpha channel is ignored; its own name if it has none."""

    @property
    def fourcc(self) -> int:
        return fourcc(self.name)


FORMATS: Final[Mapping[int, Format]] = {
    fmt.fourcc: fmt
    for fmt in (
        Format("RG16", "RGB565", 2, "RG16"),
        Format("RG24", "RGB888", 3, "RG24"),
        Format("XR24", "XRGB8888", 4, "XR24"),
        Format("AR24", "ARGB8888", 4, "XR24"),
        Format("XR12", "XRGB4444", 2, "XR12"),
        Format("AR12", "ARGB4444", 2, "XR12"),
        Format("XR15", "XRGB1555", 2, "XR15"),
        Format("AR15", "ARGB1555", 2, "XR15"),
        Format("YUYV", "YUYV", 2, "YUYV"),
    )
}


def plain(fmt: Format) -> Format:
    """``fmt`` without its alpha channel."""
    return FORMATS[fourcc(fmt.opaque_name)]
