# SPDX-License-Identifier: GPL-2.0-or-later
"""From dom0's boot to a connected guest."""

from __future__ import annotations

import time

from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

READY_NODE = "/local/domain/0/drivers/displbe/status"


@scenario(60)
def started_by_systemd(rig: Rig) -> str:
    """systemd has started the daemon at boot, from our unit, as README installs it."""
    state = rig.daemon.state()
    expect(state == "active", f"the unit is {state}")
    rig.daemon.wait_for_log("output Virtual-1")
    rig.daemon.wait_for_log("output Virtual-2")
    return rig.dom0.shell(f"xenstore-read {READY_NODE}", check=False).strip()


@scenario(220)
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


@scenario(120)
def init_wait(rig: Rig) -> str:
    """A guest that xl is already creating when the daemon starts is offered its display in time."""
    guest = rig.guest("w", "Virtual-2:800x600")
    guest.destroy()
    rig.daemon.stop()
    # In the background: xl waits up to 10 s for the backend. Paused, so that only xl's part counts.
    rig.dom0.put("/root/w.cfg", _paused_config(rig))
    rig.dom0.shell("(xl create -p /root/w.cfg; echo code $?) >/tmp/w.log 2>&1 & sleep 1.5")
    try:
        seconds = _start_to_init_wait(rig)
        deadline = time.monotonic() + 30
        while "code" not in (said := rig.dom0.shell("cat /tmp/w.log")):
            expect(time.monotonic() < deadline, f"xl create still waits: {said}")
            time.sleep(0.5)
        expect("code 0" in said, f"xl create: {said}")
    finally:
        guest.destroy()
    return f"{seconds:.1f} s from systemctl start to InitWait, with what xl still had to do, emulated"


def _paused_config(rig: Rig) -> bytes:
    from tests.rig.guests import CONFIG, vdispl

    return CONFIG.format(name="w", vdispl=vdispl(rig.guest("w").connectors)).encode()


def _start_to_init_wait(rig: Rig) -> float:
    """Read in dom0, every 0.1 s: seconds since the daemon was told to start."""
    script = """
        started=$(date +%s%N)
        systemctl start --no-block xendisplback
        for try in $(seq 150); do
            for node in $(xenstore-ls -f /local/domain/0/backend/vdispl | sed -n 's/ = "2"$//p'); do
                case $node in */state) echo $(( ($(date +%s%N) - started) / 1000000 )); exit;; esac
            done
            sleep 0.1
        done
        cat /tmp/w.log; exit 1
    """
    return int(rig.dom0.shell(script, timeout=60)) / 1000
