# SPDX-License-Identifier: GPL-2.0-or-later
"""Planes: what feeds framebuffers into a CRTC."""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.kms.device import Device
from xendisplback.kms.properties import PropertyTables


@dataclass(slots=True, eq=False)
class Plane:
    id: int
    type: str
    """``Primary``, ``Overlay`` or ``Cursor``."""
    formats: frozenset[int]
    """FourCC codes."""
    possible_crtcs: int
    """Bit n: the CRTC with index n."""
    shadowed: bool
    """It has FB_DAMAGE_CLIPS, which only drivers have that copy framebuffers (virtio-gpu, bochs, vkms…)."""
    zpos: int | None
    """As of opening; higher is nearer. None where the driver has no such property."""
    crtc_id: int
    """As of the last probe."""


def read_plane(device: Device, tables: PropertyTables, plane_id: int) -> Plane:
    """Raises HostError."""
    properties = tables.read(plane_id)
    with device.fetched(
        device.lib.drmModeGetPlane(device.fd, plane_id),
        device.lib.drmModeFreePlane,
        "drmModeGetPlane",
    ) as found:
        return Plane(
            id=plane_id,
            type=properties.enum("type") or "Overlay",
            formats=frozenset(device.ffi.unpack(found.formats, found.count_formats)),
            possible_crtcs=found.possible_crtcs,
            shadowed="FB_DAMAGE_CLIPS" in properties.by_name,
            zpos=properties.values.get("zpos"),
            crtc_id=found.crtc_id,
        )


def read_crtc_id(device: Device, plane_id: int) -> int:
    """Raises HostError."""
    with device.fetched(
        device.lib.drmModeGetPlane(device.fd, plane_id),
        device.lib.drmModeFreePlane,
        "drmModeGetPlane",
    ) as found:
        return found.crtc_id
