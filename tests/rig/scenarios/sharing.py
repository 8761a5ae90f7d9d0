# SPDX-License-Identifier: GPL-2.0-or-later
"""Cards shared with another program of dom0: its master taken away and back, and a lease."""

from __future__ import annotations

import time

from tests.rig.controller import controller
from tests.rig.desktop import desktop
from tests.rig.machines.arm64 import ARM64, BOCHS, GPU, RAMFB
from tests.rig.picture import pattern, plain
from tests.rig.rig import Rig
from tests.rig.scenario import scenario
from tests.rig.scenarios.hotplug import went_on

HERE = (ARM64.name,)


@scenario(120, machines=HERE)
def master_taken_and_given_back(rig: Rig) -> str:
    """Another program is the card's master for a while: the guest goes on, and is shown again afterwards."""
    with rig.own_guest("z", "Virtual-1:800x600") as guest:
        guest.ask("mode 0 800x600 XR24")
        other = desktop(rig.dom0, "Virtual-1")
        guest.ask("flipfree 0")
        with other.shows("Virtual-1", "#405060", instead_of=rig.daemon.pid()):
            rig.expect_picture(GPU, plain(1280, 800, "#405060"))
            time.sleep(2)
            rig.expect_picture(GPU, plain(1280, 800, "#405060"))
            flips = went_on(guest)
            guest.ask("show 0 4")
        seconds = rig.expect_picture(GPU, pattern(800, 600, 4))
        guest.flip(20)
    return f"shown {seconds:.1f} s after its end; {flips} flips meanwhile"


@scenario(120, machines=HERE)
def leased_output(rig: Rig) -> str:
    """A desktop leases one of a card's outputs to the daemon, uses the other one, and revokes the lease."""
    own_cards = 'cards = ["driver:virtio_gpu"]\n'
    with controller(rig, "iommu=1 contiguous=1", heads=2, toml=own_cards):
        other = desktop(rig.dom0, "HDMI-A-1")
        colour = plain(1280, 720, "#405060")
        with (
            other.leases("HDMI-A-1", "HDMI-A-2", "#405060"),
            rig.own_guest("z", "HDMI-A-1:800x600") as guest,
        ):
            guest.ask("mode 0 800x600 XR24")
            guest.ask("show 0 3")
            rig.expect_picture(RAMFB, pattern(800, 600, 3))
            guest.ask("flipfree 0")
            rig.expect_picture(BOCHS, colour)
            since = len(rig.daemon.log())
            other.revoke()
            line = rig.daemon.wait_for_log("revoked", since=since)
            time.sleep(2)
            flips = went_on(guest)
            rig.expect_picture(BOCHS, colour)
    return f"{line}; {flips} flips"
