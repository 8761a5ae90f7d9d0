# SPDX-License-Identifier: GPL-2.0-or-later
"""xl's commands for displays."""

from __future__ import annotations

from tests.rig.guests import vdispl
from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario


@scenario(240)
def vdispl_list(rig: Rig) -> str:
    """xl vdispl-list shows the display, connected."""
    guest = rig.guest_up("a")
    output = rig.dom0.run("xl", "vdispl-list", guest.name).out
    for part in ("state: 4,", "id: Virtual-1,", "width: 800, height: 600,"):
        expect(part in output, f"no {part!r} in: {output}")
    return output.splitlines()[0]


@scenario(300)
def detach_and_attach(rig: Rig) -> str:
    """xl vdispl-detach and vdispl-attach on a running guest; the picture is back."""
    guest = rig.guest_up("b")
    guest.ask("mode 0 1024x768 XR24", timeout=60)
    guest.ask("close")
    detach = rig.dom0.run("xl", "vdispl-detach", guest.name, "0", timeout=60)
    expect("rror" not in detach.err, detach.err)
    listed = rig.dom0.run("xl", "vdispl-list", guest.name).out
    expect("Virtual-2" not in listed, f"still listed: {listed}")
    # xen_drm_front's remove polls a second for InitWait and then writes Closed: into the new device's state,
    # if that is there by then, and Linux ignores a new device that is Closed.
    gone = "[ ! -e /sys/devices/vdispl-0 ]"
    guest.shell(f"for i in 1 2 3 4 5 6 7 8 9; do {gone} && break; sleep 1; done; {gone}")
    attach = rig.dom0.run(
        "xl", "vdispl-attach", guest.name, *vdispl(guest.connectors).split(","), timeout=60
    )
    expect("rror" not in attach.err, attach.err)
    guest.open()
    guest.ask("mode 0 1024x768 XR24", timeout=60)
    rig.expect_picture(1, pattern(1024, 768, 0))
    return ""


@scenario(300)
def detach_while_flipping(rig: Rig) -> str:
    """xl vdispl-detach while the guest flips: xl does not wait in vain, the daemon lives on."""
    guest = rig.guest_up("b")
    guest.ask("mode 0 1024x768 XR24", timeout=60)
    guest.ask("flipfree 0")
    rig.dom0.run("xl", "vdispl-detach", guest.name, "0", timeout=60)
    guest.ask("close")
    expect(rig.daemon.state() == "active", "the daemon has ended")
    guest.destroy()
    rig.no_zombies()
    return ""


@scenario(300)
def shutdown(rig: Rig) -> str:
    """xl shutdown of a guest that flips: it goes without waiting for us, and nothing stays."""
    guest = rig.guest_up("b")
    guest.ask("mode 0 1024x768 XR24", timeout=60)
    guest.ask("flipfree 0")
    rig.dom0.run("xl", "shutdown", "-w", guest.name, timeout=90)
    guest.exists()
    rig.no_zombies()
    expect(rig.daemon.state() == "active", "the daemon has ended")
    late = rig.dom0.shell(
        "grep -h 'displ' /var/log/xen/console/guest-b.log | grep -i 'timeout\\|timed'", check=False
    )
    expect(not late, f"the guest's log: {late}")
    return ""
