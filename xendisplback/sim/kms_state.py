# SPDX-License-Identifier: GPL-2.0-or-later
"""The state of a simulated card as atomic commits change it, and the rules that a commit must keep. No I/O.

The rules are those of most drivers for a primary plane: it fills its CRTC, unscaled, from inside its
framebuffer; a CRTC is active with a mode, and with a connector that can reach it.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from xendisplback.kms.geometry import Rect
from xendisplback.kms.mode import Mode
from xendisplback.sim.framebuffers import SimFramebuffer
from xendisplback.sim.kms_objects import SimConnector, SimCrtc, SimPlane

Layout = Mapping[int, Mapping[str, int]]
"""Property values by name by object id."""


class Refused(Exception):
    """The driver says no."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(reason)
        self.errno = number


@dataclass(slots=True)
class Objects:
    """What ids stand for."""

    connectors: dict[int, SimConnector]
    crtcs: dict[int, SimCrtc]
    planes: dict[int, SimPlane]
    framebuffers: dict[int, SimFramebuffer] = field(default_factory=dict[int, SimFramebuffer])
    modes: dict[int, Mode] = field(default_factory=dict[int, Mode])
    """By blob id."""
    scales: bool = False
    most_planes: int = 8


Values = dict[int, dict[str, int]]


def merge(state: Values, layout: Layout) -> Values:
    """``state`` with the properties of ``layout`` changed."""
    return {id: {**values, **layout.get(id, {})} for id, values in state.items()}


def touched_crtcs(state: Values, layout: Layout, objects: Objects) -> set[int]:
    """The CRTCs that a commit concerns: named, or used before or after by a plane or connector named."""
    after = merge(state, layout)
    crtcs = {id for id in layout if id in objects.crtcs}
    for values in (state, after):
        crtcs |= {values[id].get("CRTC_ID", 0) for id in layout}
    return crtcs & objects.crtcs.keys()


def needs_modeset(before: Values, after: Values, objects: Objects) -> bool:
    """As the kernel: another blob with the same mode is the same mode."""

    def looks(state: Values, id: int) -> dict[str, object]:
        values: dict[str, object] = dict(state[id])
        if "MODE_ID" in values:
            values["MODE_ID"] = objects.modes.get(state[id]["MODE_ID"])
        return values

    return any(
        looks(before, id) != looks(after, id)
        for id in after
        if id in objects.crtcs or id in objects.connectors
    )


def check(state: Values, objects: Objects) -> None:
    """Raises Refused."""
    for crtc in objects.crtcs.values():
        _check_crtc(crtc, state, objects)
    for plane in objects.planes.values():
        _check_plane(plane, state, objects)
    shown = Counter(state[id]["CRTC_ID"] for id in objects.planes if state[id]["FB_ID"])
    if any(count > objects.most_planes for count in shown.values()):
        raise Refused(errno.EINVAL, "more planes than the memory has bandwidth for")


def _check_crtc(crtc: SimCrtc, state: Values, objects: Objects) -> None:
    values = state[crtc.id]
    feeds = [id for id in objects.connectors if state[id]["CRTC_ID"] == crtc.id]
    if values["MODE_ID"] and values["MODE_ID"] not in objects.modes:
        raise Refused(errno.EINVAL, "MODE_ID is no blob")
    if values["ACTIVE"] and not values["MODE_ID"]:
        raise Refused(errno.EINVAL, "an active CRTC without a mode")
    if bool(values["MODE_ID"]) != bool(feeds):
        raise Refused(errno.EINVAL, "a CRTC has a mode exactly if it has a connector")
    for id in feeds:
        if not objects.connectors[id].possible_crtcs >> crtc.index & 1:
            raise Refused(errno.EINVAL, "a connector that this CRTC can't reach")


def _check_plane(plane: SimPlane, state: Values, objects: Objects) -> None:
    values = state[plane.id]
    if bool(values["FB_ID"]) != bool(values["CRTC_ID"]):
        raise Refused(errno.EINVAL, "a plane has a framebuffer exactly if it has a CRTC")
    if not values["FB_ID"]:
        return
    framebuffer = objects.framebuffers.get(values["FB_ID"])
    crtc = objects.crtcs.get(values["CRTC_ID"])
    if framebuffer is None or crtc is None:
        raise Refused(errno.ENOENT, "no such framebuffer or CRTC")
    mode = objects.modes.get(state[crtc.id]["MODE_ID"])
    if mode is None or not plane.possible_crtcs >> crtc.index & 1:
        raise Refused(errno.EINVAL, "a plane on a CRTC without a mode, or out of its reach")
    if framebuffer.format not in plane.formats:
        raise Refused(errno.EINVAL, "a format that the plane lacks")
    width, height = values["SRC_W"] >> 16, values["SRC_H"] >> 16
    if (width, height) != (values["CRTC_W"], values["CRTC_H"]) and not objects.scales:
        raise Refused(errno.EINVAL, "scaling")
    area = Rect(values["CRTC_X"], values["CRTC_Y"], values["CRTC_W"], values["CRTC_H"])
    whole = Rect(0, 0, mode.hdisplay, mode.vdisplay)
    if plane.type == "Primary" and area != whole:
        raise Refused(errno.EINVAL, "the primary plane must fill the mode")
    if not whole.covers(area):
        raise Refused(errno.EINVAL, "a plane beyond the mode")
    right, bottom = (values["SRC_X"] >> 16) + width, (values["SRC_Y"] >> 16) + height
    if right > framebuffer.width or bottom > framebuffer.height:
        raise Refused(errno.ENOSPC, "the framebuffer is smaller than the source rectangle")


def composed(crtc_id: int, mode: Mode, state: Values, objects: Objects) -> bytes:
    """What a CRTC's monitor shows: XRGB8888, its planes by zpos over black, scaled to the nearest pixel."""
    width, height = mode.hdisplay, mode.vdisplay
    screen = bytes(4 * width * height)
    for plane in sorted(objects.planes.values(), key=lambda plane: plane.zpos or 0):
        values = state[plane.id]
        framebuffer = objects.framebuffers.get(values["FB_ID"])
        if values["CRTC_ID"] != crtc_id or framebuffer is None:
            continue
        source = values["SRC_W"] >> 16, values["SRC_H"] >> 16
        pixels = framebuffer.xrgb(values["SRC_X"] >> 16, values["SRC_Y"] >> 16, *source)
        area = Rect(values["CRTC_X"], values["CRTC_Y"], values["CRTC_W"], values["CRTC_H"])
        if area == Rect(0, 0, width, height) and source == area.size:
            screen = pixels
        else:
            screen = _overlaid(screen, width, pixels, source, area)
    return screen


def _overlaid(
    screen: bytes, width: int, pixels: bytes, source: tuple[int, int], area: Rect
) -> bytes:
    result = bytearray(screen)
    columns = [4 * (x * source[0] // area.width) for x in range(area.width)]
    for y in range(area.height):
        start = 4 * source[0] * (y * source[1] // area.height)
        row = pixels[start : start + 4 * source[0]]
        if source[0] != area.width:
            row = b"".join(row[x : x + 4] for x in columns)
        at = 4 * ((area.y + y) * width + area.x)
        result[at : at + len(row)] = row
    return bytes(result)
