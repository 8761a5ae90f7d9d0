# SPDX-License-Identifier: GPL-2.0-or-later
"""What was on screen when we came, put back when we go.

Rules:

- Only the CRTCs that we used are touched, with the planes and connectors that were or are on them.
- A CRTC is lit again if it was lit, its mode is known and a plane on it showed a framebuffer that
  is still there. Otherwise it is switched off: a guest's picture never stays behind.
- A framebuffer id may be used again after its framebuffer went away, first of all by one of ours.
  So it must have the same size and format as before and must never have been one of ours.
- Mode blobs belong to whoever made them: their contents are kept, not their ids.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from xendisplback.errors import GONE, HostError
from xendisplback.kms.atomic import AtomicReq
from xendisplback.kms.blob import Blob, read_blob
from xendisplback.kms.device import Device
from xendisplback.kms.properties import PropertyTables

logger = logging.getLogger(__name__)

Kind = Literal["connector", "crtc", "plane"]
Changes = dict[int, dict[str, int]]
"""Values by property name by object id."""

SAVED: Mapping[Kind, tuple[str, ...]] = {
    "connector": ("CRTC_ID",),
    "crtc": ("MODE_ID", "ACTIVE"),
    "plane": (
        *("FB_ID", "CRTC_ID", "CRTC_X", "CRTC_Y", "CRTC_W", "CRTC_H"),
        *("SRC_X", "SRC_Y", "SRC_W", "SRC_H"),
    ),
}
OFF: Mapping[Kind, Mapping[str, int]] = {
    "connector": {"CRTC_ID": 0},
    "crtc": {"MODE_ID": 0, "ACTIVE": 0},
    "plane": {"FB_ID": 0, "CRTC_ID": 0},
}


@dataclass(frozen=True, slots=True)
class SavedObject:
    kind: Kind
    values: Mapping[str, int]


def affected(saved: Mapping[int, SavedObject], used: set[int]) -> set[int]:
    """The used objects, the CRTCs they were on, and everything that was on a CRTC among them."""
    result = used & set(saved)
    result |= {
        saved[object_id].values["CRTC_ID"]
        for object_id in result
        if saved[object_id].kind != "crtc"
    } - {0}
    result |= {object_id for object_id, obj in saved.items() if obj.values.get("CRTC_ID") in result}
    return result


def plan(
    saved: Mapping[int, SavedObject],
    used: set[int],
    framebuffers: set[int],
    modes: Mapping[int, int],
) -> Changes:
    """What to set.

    ``framebuffers`` are the ids that still are what they were, ``modes`` our mode blobs by CRTC id.
    """
    objects = affected(saved, used)
    shown = {
        object_id
        for object_id in objects
        if saved[object_id].kind == "plane" and saved[object_id].values["FB_ID"] in framebuffers
    }
    lit = {
        object_id
        for object_id in objects & set(modes)
        if saved[object_id].values["ACTIVE"]
        and any(saved[p].values["CRTC_ID"] == object_id for p in shown)
    }
    # A used object that was not there when we came is a connector (MST).
    changes: Changes = {object_id: dict(OFF["connector"]) for object_id in used - set(saved)}
    for object_id in objects:
        obj = saved[object_id]
        back = (
            object_id in lit
            if obj.kind == "crtc"
            else obj.values["CRTC_ID"] in lit and (obj.kind == "connector" or object_id in shown)
        )
        changes[object_id] = dict(obj.values if back else OFF[obj.kind])
        if back and obj.kind == "crtc":
            changes[object_id]["MODE_ID"] = modes[object_id]
    return changes


class Screen(msgspec.Struct, frozen=True):
    """What is on a card's CRTCs."""

    objects: dict[int, SavedObject]
    modes: dict[int, bytes]
    """By CRTC id."""
    framebuffers: dict[int, tuple[int, int, int]]
    """Width, height and format."""

    def pack(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def unpack(cls, packed: bytes) -> Screen:
        """What makes no sense counts as dark."""
        try:
            return msgspec.json.decode(packed, type=cls)
        except msgspec.DecodeError:
            return cls({}, {}, {})

    def showing(self, framebuffers: Container[int]) -> set[int]:
        """The planes that show one of these, and the CRTCs and connectors that they are on."""
        planes = {
            object_id
            for object_id, obj in self.objects.items()
            if obj.kind == "plane" and obj.values["FB_ID"] in framebuffers
        }
        return affected(self.objects, planes)


def read_screen(device: Device, tables: PropertyTables, objects: Mapping[int, Kind]) -> Screen:
    """Raises HostError."""
    screen = Screen({}, {}, {})
    for object_id, kind in objects.items():
        values = tables.read(object_id).values
        obj = screen.objects[object_id] = SavedObject(
            kind, {name: values[name] for name in SAVED[kind]}
        )
        if kind == "crtc":
            screen.modes[object_id] = read_blob(device, obj.values["MODE_ID"])
        elif kind == "plane" and obj.values["FB_ID"]:
            description = _describe(device, obj.values["FB_ID"])
            if description is not None:
                screen.framebuffers[obj.values["FB_ID"]] = description
    return screen


def _describe(device: Device, framebuffer: int) -> tuple[int, int, int] | None:
    """Width, height and format; None where it is gone or the kernel (before 5.7) can't tell."""
    found = device.lib.drmModeGetFB2(device.fd, framebuffer)
    if not found:
        return None
    # For a master the kernel makes new GEM handles, which would keep the memory for ever.
    for handle in set(device.ffi.unpack(found.handles, 4)) - {0}:
        device.lib.drmCloseBufferHandle(device.fd, handle)
    description = (found.width, found.height, found.pixel_format)
    device.lib.drmModeFreeFB2(found)
    return description


class SavedScreen:
    """``screen`` was there when we came, or an earlier process whose card we have from it."""

    def __init__(self, device: Device, tables: PropertyTables, screen: Screen) -> None:
        self._device = device
        self._tables = tables
        self._screen = screen

    def pack(self) -> bytes:
        """For :meth:`Screen.unpack`, in the next process."""
        return self._screen.pack()

    def restore(self, used: set[int], own_framebuffers: set[int]) -> None:
        """Put back, or blank where the driver refuses that; what fails is logged."""
        if not used:
            return
        framebuffers = {
            object_id
            for object_id, description in self._screen.framebuffers.items()
            if object_id not in own_framebuffers
            and _describe(self._device, object_id) == description
        }
        blobs: list[Blob] = []
        try:
            modes: dict[int, int] = {}
            for crtc_id, mode in self._screen.modes.items():
                if mode:
                    blobs.append(Blob(self._device, mode))
                    modes[crtc_id] = blobs[-1].id
            self._commit(plan(self._screen.objects, used, framebuffers, modes))
        except HostError as error:
            if error.errno in GONE:
                return
            logger.warning("what was on screen before could not be put back: %s", error)
            self._blank(used)
        finally:
            for blob in blobs:
                blob.close()

    def _blank(self, used: set[int]) -> None:
        try:
            self._commit(plan(self._screen.objects, used, set(), {}))
        except HostError as error:
            logger.warning("screen could not be blanked: %s", error)

    def _commit(self, changes: Changes) -> None:
        request = AtomicReq(self._device, self._tables, set())
        for object_id, values in changes.items():
            request.add_by_id(object_id, values)
        request.commit(allow_modeset=True)
