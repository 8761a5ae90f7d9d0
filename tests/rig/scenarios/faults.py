# SPDX-License-Identifier: GPL-2.0-or-later
"""What goes wrong around a guest that is shown: flips go on, and a fresh guest works."""

from __future__ import annotations

import time

from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64
from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import BOTH, expect, scenario

PAUSED_SECONDS = 60
LATE = "timed-out"
"""What Linux's frontend says where a flip's event takes longer than 3.1 s."""


def goes_on(rig: Rig, guest: Guest, screen: int, width: int, height: int) -> None:
    """``guest`` flips in a mode that it sets, and shows what it should."""
    guest.ask(f"mode 0 {width}x{height} XR24", timeout=60)
    guest.flip(20)
    guest.ask("show 0 3")
    rig.expect_picture(screen, pattern(width, height, 3))


@scenario(200, machines=BOTH)
def xenstored_updated_live(rig: Rig) -> str:
    """A new xenstored takes the old one's place: the daemon keeps connection, watches and guests."""
    guest, neighbour = rig.guest_up("a"), rig.guest_up("b")
    guest.ask("mode 0 800x600 XR24")
    late = len(guest.kernel_log(LATE))
    gone = f"dom {neighbour.domid} vdispl 0: ended"
    since, pid = len(rig.daemon.log()), rig.daemon.pid()
    guest.ask("flipfree 0")
    # With the file that runs: Debian's dom0 has oxenstored, or the one written in C.
    said = rig.dom0.shell(
        "xenstored=$(readlink -f /proc/$(pidof xenstored oxenstored)/exe);"
        " xenstore-control live-update $xenstored && echo $xenstored"
    )
    # Known by a watch from before.
    neighbour.destroy()
    rig.daemon.wait_for_log(gone, since=since)
    flips = guest.stop().count
    expect(len(guest.kernel_log(LATE)) == late, "a flip was late")
    expect(rig.daemon.pid() == pid, "the daemon ended")
    goes_on(rig, guest, 0, 800, 600)
    goes_on(rig, neighbour.up(), 1, 1024, 768)
    return f"{said.split()[-1]}; {flips} flips meanwhile"


@scenario(300, machines=(ARM64.name,))
def paused_for_a_minute(rig: Rig) -> str:
    """A guest that stands still keeps its picture, and nobody waits for it; then it goes on."""
    guest, neighbour = rig.guest_up("a"), rig.guest_up("b")
    guest.ask("mode 0 800x600 XR24")
    neighbour.ask("mode 0 1024x768 XR24", timeout=60)
    guest.flip(5)
    guest.ask("show 0 3")
    since = len(rig.daemon.log())
    late = len(neighbour.kernel_log(LATE))
    neighbour.ask("flipfree 0")
    rig.dom0.run("xl", "pause", "a")
    try:
        time.sleep(PAUSED_SECONDS)
        rig.expect_picture(0, pattern(800, 600, 3))
    finally:
        rig.dom0.run("xl", "unpause", "a")
    goes_on(rig, guest, 0, 800, 600)
    flips = neighbour.stop()
    expect(len(neighbour.kernel_log(LATE)) == late, "a flip of the neighbour was late")
    said = [line for line in rig.daemon.log()[since:] if f"dom {guest.domid}" in line]
    expect(not any("closed" in line for line in said), f"the guest was closed: {said}")
    return f"the neighbour: {flips.count} flips, {flips.spread}"
