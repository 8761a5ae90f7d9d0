# SPDX-License-Identifier: GPL-2.0-or-later
"""Page flips: none late, none lost, counted alike on both sides."""

from __future__ import annotations

import re

from tests.rig.dom0_link import RigError
from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import BOTH, expect, scenario

TIMED_OUT = "timed-out"
# A driver that is bound to its device can't be unloaded.
UNLOAD = "echo vdispl-0 >/sys/bus/xen/drivers/vdispl/unbind && rmmod drm_xen_front"


@scenario(240, machines=BOTH)
def flips_on_time(rig: Rig) -> str:
    """300 flips, each waited for; no "Frame done timed-out" in the guest's log; the last one is shown."""
    guest = rig.guest_up("a")
    before = len(guest.kernel_log(TIMED_OUT))
    guest.ask("mode 0 800x600 XR24")
    flips = guest.flip(300)
    rig.expect_picture(0, pattern(800, 600, 0))
    late = guest.kernel_log(TIMED_OUT)[before:]
    expect(not late, f"the guest's log: {late}")
    took = f"{flips.shortest / 1000:.1f} to {flips.longest / 1000:.1f} ms"
    return f"{flips.mean / 1000:.1f} ms apart, done after {took}"


@scenario(300)
def flips_counted_alike(rig: Rig) -> str:
    """The guest's count of a connection's flips is the daemon's."""
    rig.guest("a").destroy()
    guest = rig.guest_up("a")
    since = len(rig.daemon.log())
    guest.ask("mode 0 800x600 XR24")
    counted = guest.flip(123).count
    guest.ask("show 0 3")
    counted += 1
    guest.ask("flipfree 0")
    guest.shell("sleep 2")
    counted += guest.stop().count
    guest.ask("close")
    # Unloading the frontend ends the connection in order, with nothing on its way.
    guest.shell(UNLOAD)
    line = rig.daemon.wait_for_log("closed after", since=since)
    guest.shell("modprobe drm_xen_front")
    found = re.search(r"closed after (\d+) flips", line)
    if found is None:
        raise RigError(f"not a line about flips: {line!r}")
    expect(int(found[1]) == counted, f"the guest counted {counted}; {line}")
    guest.open()
    return f"{counted} flips"


@scenario(240)
def module_reloaded(rig: Rig) -> str:
    """The frontend unloaded and loaded again: it connects again, and the picture is right."""
    guest = rig.guest_up("a")
    guest.ask("close")
    guest.shell(f"{UNLOAD} && modprobe drm_xen_front")
    guest.open()
    guest.ask("mode 0 800x600 XR24")
    rig.expect_picture(0, pattern(800, 600, 0))
    return ""
