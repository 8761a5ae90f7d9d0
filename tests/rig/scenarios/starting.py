# SPDX-License-Identifier: GPL-2.0-or-later
"""From dom0's boot to a connected guest."""

from __future__ import annotations

from tests.rig.rig import Rig
from tests.rig.scenario import BOTH, expect, scenario

READY_NODE = "/local/domain/0/drivers/displbe/status"


@scenario(60, machines=BOTH)
def started_by_systemd(rig: Rig) -> str:
    """systemd has started the daemon at boot, from our unit, as README installs it."""
    state = rig.daemon.state()
    expect(state == "active", f"the unit is {state}")
    rig.daemon.wait_for_log("output Virtual-1")
    rig.daemon.wait_for_log("output Virtual-2")
    return rig.dom0.shell(f"xenstore-read {READY_NODE}", check=False).strip()


@scenario(220, machines=BOTH)
def create(rig: Rig) -> str:
    """xl create with a vdispl= line succeeds, and the guest gets its display."""
    rig.serve()
    guest = rig.guest("a")
    guest.destroy()
    created = guest.create()
    guest.wait_until_up()
    modes = guest.open()
    expect(modes == "1 800x600", f"the guest's connectors and modes: {modes!r}")
    for path in (
        f"/local/domain/0/backend/vdispl/{created.domid}/0/state",
        f"/local/domain/{created.domid}/device/vdispl/0/state",
    ):
        state = rig.dom0.run("xenstore-read", path).out.strip()
        expect(state == "4", f"{path} is {state}, not 4")
    return f"xl create took {created.seconds:.1f} s"


@scenario(240)
def init_wait(rig: Rig) -> str:
    """From the daemon's start to InitWait, or to what a waiting guest makes of it at once."""
    guest = rig.guest_up("a")
    guest.ask("close")
    rig.daemon.stop()
    state = f"/local/domain/0/backend/vdispl/{guest.domid}/0/state"
    script = f"""
        started=$(date +%s%N)
        systemctl start --no-block xendisplback
        for try in $(seq 400); do
            case $(xenstore-read {state}) in
            2 | 4) echo $(( ($(date +%s%N) - started) / 1000000 )); exit;;
            esac
            sleep 0.05
        done
        exit 1
    """
    seconds = int(rig.dom0.shell(script, timeout=60)) / 1000
    rig.daemon.start()
    guest.open()
    return f"{seconds:.1f} s, emulated"
