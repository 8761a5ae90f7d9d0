# SPDX-License-Identifier: GPL-2.0-or-later
"""ARM64: a card of the kernel's vkms, made through configfs: overlay planes, and monitors that come and go.

Nobody sees a picture of vkms, but its composer gives the checksum of each frame (debugfs), over all planes.
It is computed here from the expected picture: every pixel is compared, only that a difference has no place.
"""

from __future__ import annotations

import re
import time
import zlib
from array import array
from collections.abc import Generator
from contextlib import contextmanager

from tests.rig.dom0_link import Dom0, RigError
from tests.rig.picture import Picture
from tests.rig.rig import SETTLE_SECONDS, Rig

NAME = "rig"
CONFIGFS = f"/sys/kernel/config/vkms/{NAME}"
# configfs takes the kernel's numbers: enum drm_plane_type, enum drm_connector_status.
OVERLAY, PRIMARY = 0, 1
CONNECTED, DISCONNECTED = 1, 2


class Vkms:
    """A card of ``heads`` outputs, each with its own CRTC, primary plane and ``overlays`` overlay planes."""

    def __init__(self, dom0: Dom0, heads: int, overlays: int) -> None:
        self._dom0 = dom0
        self._heads = heads
        self._overlays = overlays

    def create(self) -> None:
        """Configured and enabled."""
        lines = [f"mkdir {CONFIGFS}", f"cd {CONFIGFS}"]
        for head in range(self._heads):
            lines += [f"mkdir crtcs/{head} encoders/{head} connectors/{head}"]
            lines += [f"ln -s {CONFIGFS}/crtcs/{head} encoders/{head}/possible_crtcs/"]
            lines += [f"ln -s {CONFIGFS}/encoders/{head} connectors/{head}/possible_encoders/"]
            for plane in range(1 + self._overlays):
                path = f"planes/{head}-{plane}"
                kind = OVERLAY if plane else PRIMARY
                lines += [f"mkdir {path}", f"echo {kind} >{path}/type"]
                lines += [f"ln -s {CONFIGFS}/crtcs/{head} {path}/possible_crtcs/"]
        self._dom0.shell("set -e\n" + "\n".join(lines))
        self.enable()

    def remove(self) -> None:
        """configfs wants links and directories removed one by one."""
        self._dom0.shell(
            f"[ -d {CONFIGFS} ] || exit 0; echo 0 >{CONFIGFS}/enabled;"
            f" find {CONFIGFS} -type l -delete;"
            # Default groups can't be removed, and go with what they belong to.
            f" find {CONFIGFS} -mindepth 2 -maxdepth 2 -type d -exec rmdir {{}} +; rmdir {CONFIGFS}"
        )

    def enable(self) -> None:
        """The card appears."""
        self._dom0.shell(f"echo 1 >{CONFIGFS}/enabled")

    def disable(self) -> None:
        """The card is gone, whoever has it open."""
        self._dom0.shell(f"echo 0 >{CONFIGFS}/enabled")

    def plug(self, head: int) -> None:
        self._dom0.shell(f"echo {CONNECTED} >{CONFIGFS}/connectors/{head}/status")

    def unplug(self, head: int) -> None:
        self._dom0.shell(f"echo {DISCONNECTED} >{CONFIGFS}/connectors/{head}/status")

    def output(self, head: int) -> str:
        """Its name: connectors are numbered over all cards, and anew for each."""
        listed = self._dom0.shell(f"cd /sys/devices/faux/{NAME}/drm/card*/; ls -d card*-*")
        return sorted(re.sub(r"^card\d+-", "", line) for line in listed.split())[head]

    def expect_picture(self, head: int, expected: Picture) -> float:
        """Seconds until the output shows it. Raises: RigError: it didn't within SETTLE_SECONDS."""
        wanted = checksum(expected)
        started = time.monotonic()
        while (seen := self._checksum(head)) != wanted:
            if time.monotonic() - started > SETTLE_SECONDS:
                state = self._dom0.shell(f"cat {self._debugfs()}/state")
                raise RigError(
                    f"{self.output(head)}: checksum {seen} instead of {wanted:#010x}:\n{state}"
                )
        return time.monotonic() - started

    def planes(self, head: int) -> int:
        """How many planes are on the output's CRTC."""
        state = self._dom0.shell(f"cat {self._debugfs()}/state")
        on = re.findall(r"^plane\[.*\n\tcrtc=(\S+)$", state, re.MULTILINE)
        return on.count(f"crtc-{head}")

    def _checksum(self, head: int) -> int | None:
        """None: the CRTC is off."""
        # One line a read. The second one: the first frame may have been composed before.
        text = self._dom0.shell(
            f"cd {self._debugfs()}/crtc-{head}/crc && echo auto >control"
            " && timeout 2 dd if=data bs=256 count=2 status=none",
            check=False,
        )
        found = re.findall("0x[0-9a-f]+ (0x[0-9a-f]+)", text)
        return int(found[-1], 16) if found else None

    def _debugfs(self) -> str:
        return f"/sys/kernel/debug/dri/{NAME}"


def checksum(picture: Picture) -> int:
    """drivers/gpu/drm/vkms/vkms_composer.c: crc32_le() over pixels of 16 bits of a, r, g, b, from 0."""
    pixels = array("H", [0xFFFF]) * (4 * picture.width * picture.height)
    for channel in range(3):
        # 8 bits are widened by repeating them.
        pixels[1 + channel :: 4] = array("H", [257 * v for v in picture.rgb[channel::3]])
    return zlib.crc32(pixels.tobytes(), 0xFFFFFFFF) ^ 0xFFFFFFFF


@contextmanager
def vkms(rig: Rig, *, heads: int = 1, overlays: int = 2) -> Generator[Vkms]:
    """A card until the end of the context; the daemon is not told."""
    card = Vkms(rig.dom0, heads, overlays)
    card.remove()
    card.create()
    try:
        yield card
    finally:
        card.remove()
