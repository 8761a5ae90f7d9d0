# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's own end and start, with guests up."""

from __future__ import annotations

import time

from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import scenario


@scenario(400)
def restarted_with_guests(rig: Rig) -> str:
    """Stopped and started with two guests up: an orderly end; the guests' displays come back."""
    first, second = rig.guest_up("a"), rig.guest_up("b")
    first.ask("mode 0 800x600 XR24")
    second.ask("mode 0 1024x768 XR24", timeout=60)
    first.ask("flipfree 0")
    started = time.monotonic()
    rig.daemon.stop()
    stopped = time.monotonic() - started
    # Seen once, unexplained: 11 s. Its journal is what is missing.
    slow = "\n".join(["", *rig.daemon.log()[-20:]]) if stopped > 5 else ""
    rig.daemon.start()
    for guest in (first, second):
        guest.open()
    first.ask("mode 0 800x600 RG16")
    second.ask("mode 0 1024x768 XR24", timeout=60)
    rig.expect_picture(0, pattern(800, 600, 0, "RG16"))
    rig.expect_picture(1, pattern(1024, 768, 0))
    first.flip(20)
    return f"stopped in {stopped:.1f} s{slow}"
