# SPDX-License-Identifier: GPL-2.0-or-later
"""What an output shows while no guest does: before one comes, when it stalls, and after its death."""

from __future__ import annotations

import time

from tests.rig.machines.arm64 import ARM64, BOCHS, GPU
from tests.rig.picture import centered, pattern, plain, png
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

PNG = "/etc/xendisplback/safe.png"
SAFE = f"""
[output.Virtual-1]
mode = "1280x800"
safe = "#203040"
[output.Virtual-2]
mode = "1280x800"
safe = "{PNG}"
stalled-after = 2
"""


@scenario(120, machines=(ARM64.name,))
def safe_picture(rig: Rig) -> str:
    """A colour and a PNG: before the guest, when it stalls, after its death mid-flip."""
    black = plain(1280, 800)
    colour, picture = plain(1280, 800, "#203040"), pattern(1280, 800, 77)
    rig.dom0.put(PNG, png(picture))
    with rig.daemon.configured(SAFE):
        rig.expect_picture(GPU, colour)
        rig.expect_picture(BOCHS, picture)
        with rig.own_guest("z", "Virtual-2:800x600") as guest:
            since = len(rig.daemon.log())
            guest.ask("mode 0 800x600 XR24")
            guest.ask("show 0 3")
            rig.expect_picture(BOCHS, centered(pattern(800, 600, 3), black))
            started = time.monotonic()
            rig.expect_picture(BOCHS, picture)
            stalled = time.monotonic() - started
            expect(stalled > 1, f"taken for stalled after {stalled:.1f} s")
            line = rig.daemon.wait_for_log("stalled", since=since)
            guest.ask("show 0 4")
            rig.expect_picture(BOCHS, centered(pattern(800, 600, 4), black))
            guest.ask("flipfree 0")
            guest.destroy()
            rig.expect_picture(BOCHS, picture)
        rig.expect_picture(GPU, colour)
    return f"{line} (after {stalled:.1f} s)"
