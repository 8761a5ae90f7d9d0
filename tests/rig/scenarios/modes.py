# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's picture on a mode of another size, and modes that are not set again without need."""

from __future__ import annotations

from tests.rig.controller import controller
from tests.rig.machines.arm64 import ARM64, BOCHS, GPU, RAMFB
from tests.rig.picture import centered, pattern, plain, scaled
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

HERE = (ARM64.name,)
FITS = """
[output.Virtual-1]
mode = "1280x800"
fit = "letterbox"
[output.Virtual-2]
mode = "1280x800"
fit = "scale"
[output.HDMI-A-1]
mode = "1280x720"
"""
KEPT = """
[output.HDMI-A-1]
safe = "#203040"
mode = "1280x720"
"""
EXACT = """
[output.Virtual-2]
fit = "exact"
"""


@scenario(120, machines=HERE)
def fitted_to_the_mode(rig: Rig) -> str:
    """800x600 on larger modes: letterbox, scale and center, each pixel; scaled flips are in time."""
    guests_picture = pattern(800, 600, 3)
    # By 4/3, which is 1066.7 wide.
    with (
        controller(rig, "iommu=1 contiguous=1", toml=FITS),
        rig.own_guest("z", "Virtual-1:800x600") as guest,
    ):
        guest.ask("mode 0 800x600 XR24")
        guest.ask("show 0 3")
        rig.expect_picture(GPU, centered(scaled(guests_picture, 1067, 800), plain(1280, 800)))
        guest.flip(20)
        rig.daemon.route("z=Virtual-2")
        guest.ask("show 0 3")
        rig.expect_picture(BOCHS, scaled(guests_picture, 1280, 800))
        guest.flip(20)
        rig.daemon.route("z=HDMI-A-1")
        guest.ask("show 0 3")
        rig.expect_picture(RAMFB, centered(guests_picture, plain(1280, 720)))
        guest.flip(20)
        late = guest.kernel_log("timed-out")
        expect(not late, f"the guest's log: {late}")
    return ""


@scenario(120, machines=HERE)
def exact_or_not_at_all(rig: Rig) -> str:
    """fit = "exact": 800x600 has a mode and is shown; 808x600 has none: named in the log, the guest goes on."""
    with rig.daemon.configured(EXACT):
        with rig.own_guest("z", "Virtual-2:800x600") as guest:
            guest.ask("mode 0 800x600 XR24")
            rig.expect_picture(BOCHS, pattern(800, 600, 0))
        since = len(rig.daemon.log())
        with rig.own_guest("z", "Virtual-2:808x600") as guest:
            guest.ask("mode 0 808x600 XR24")
            line = rig.daemon.wait_for_log("808x600", since=since)
            guest.ask("ping")
    return line


@scenario(120, machines=HERE)
def mode_kept_without_a_guest(rig: Rig) -> str:
    """With a safe picture: a guest that goes, comes back and flips sets no mode (counted by the driver)."""
    with controller(rig, "iommu=1 contiguous=1", toml=KEPT) as modelled:
        rig.expect_picture(RAMFB, plain(1280, 720, "#203040"))
        for number in range(2):
            with rig.own_guest("z", "HDMI-A-1:1280x720") as guest:
                guest.ask("mode 0 1280x720 XR24")
                guest.ask("show 0 3")
                rig.expect_picture(RAMFB, pattern(1280, 720, 3))
                if number:
                    guest.ask("close")
                    guest.open()
                    guest.ask("mode 0 1280x720 XR24")
                    rig.expect_picture(RAMFB, pattern(1280, 720, 0))
            rig.expect_picture(RAMFB, plain(1280, 720, "#203040"))
        count = modelled.counter("modesets")
        expect(count == 1, f"{count} modes were set, not one")
    return ""
