# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests moved, swapped and mirrored while they flip: pictures follow, guests don't notice."""

from __future__ import annotations

from tests.rig.controller import controller
from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64, BOCHS, GPU, RAMFB
from tests.rig.picture import Picture, centered, pattern, plain, scaled
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario

ROUTES = """
[route]
y = ["HDMI-A-1"]
z = ["Virtual-1"]
"""


LETTERBOXED = """
[output.Virtual-1]
mode = "1280x800"
fit = "letterbox"
"""


@scenario(180, machines=(ARM64.name,))
def routed_while_flipping(rig: Rig) -> str:
    """Two guests, two cards: swapped, taken off, mirrored on two outputs; what can't be changes nothing."""
    first, second = pattern(800, 600, 3), pattern(1024, 768, 4)
    with (
        controller(rig, "iommu=1 contiguous=1", heads=2, toml=ROUTES),
        rig.own_guest("y", "HDMI-A-2:800x600") as y,
        rig.own_guest("z", "HDMI-A-2:1024x768") as z,
    ):
        y.ask("mode 0 800x600 XR24")
        z.ask("mode 0 1024x768 XR24", timeout=60)
        _show(rig, y, z, {RAMFB: first, GPU: second})
        listed = [line.split(maxsplit=5) for line in rig.daemon.listed()]
        expect(listed[0][:5] == ["y/0/0", "HDMI-A-1/main", "shown", "800x600", "XR24"], str(listed))
        expect(listed[0][5].count("zero copy by") == 1, str(listed))
        expect(
            listed[1][:5] == ["z/0/0", "Virtual-1/main", "shown", "1024x768", "XR24"], str(listed)
        )
        expect(listed[1][5].count("by copy (") == 1, str(listed))
        flips = _route(rig, y, z, "y=Virtual-1", "z=HDMI-A-1")
        _show(rig, y, z, {RAMFB: second, GPU: first})
        held = rig.daemon.refused_route("y=HDMI-A-1")
        unknown = rig.daemon.refused_route("y=Nowhere-1", "z=none")
        _show(rig, y, z, {RAMFB: second, GPU: first})
        flips += _route(rig, y, z, "z=none", "y=HDMI-A-1,HDMI-A-2")
        _show(rig, y, z, {RAMFB: first, BOCHS: first})
        layout = rig.daemon.layout()
        expect('["HDMI-A-1", "HDMI-A-2"]' in layout, f"the layout: {layout}")
        flips += _route(rig, y, z, "y=HDMI-A-1", "z=default")
        _show(rig, y, z, {RAMFB: first, BOCHS: second})
        # Nobody flips: the picture comes along all the same.
        rig.daemon.route("y=Virtual-1", "z=HDMI-A-1")
        rig.expect_picture(RAMFB, second)
        rig.expect_picture(GPU, first)
        for guest in (y, z):
            late = guest.kernel_log("timed-out")
            expect(not late, f"the log of guest {guest.name}: {late}")
    return f"{flips} flips meanwhile; {held}; {unknown}"


@scenario(120, machines=(ARM64.name,))
def layout_reloaded(rig: Rig) -> str:
    """systemctl reload under a flipping guest: another fit, then a broken one; "layout" can be read again."""
    letterboxed = centered(scaled(pattern(800, 600, 3), 1067, 800), plain(1280, 800))
    with (
        rig.daemon.configured(""),
        rig.own_guest("z", "Virtual-1:800x600") as guest,
    ):
        guest.ask("mode 0 800x600 XR24")
        guest.ask("flipfree 0")
        rig.daemon.reload(LETTERBOXED)
        flips = guest.stop()
        guest.ask("show 0 3")
        rig.expect_picture(GPU, letterboxed)
        layer = '[[output.Virtual-1.layer]]\nname = "a"\nwidth = 1281\nheight = 800\n'
        refused = rig.daemon.reload(LETTERBOXED + layer)
        expect("nothing changed" in refused, f"a layer that is too large was taken: {refused}")
        rig.expect_picture(GPU, letterboxed)
        layout = rig.daemon.layout()
        again = rig.daemon.reload(layout)
        expect("nothing changed" not in again, f"not a configuration: {again}\n{layout}")
        expect(rig.daemon.layout() == layout, f"not the same: {layout}\n{rig.daemon.layout()}")
        rig.expect_picture(GPU, letterboxed)
        late = guest.kernel_log("timed-out")
        expect(not late, f"the guest's log: {late}")
    return f"{flips.count} flips meanwhile; {refused}"


def _route(rig: Rig, y: Guest, z: Guest, *routes: str) -> int:
    """While both flip; how often they did."""
    for guest in (y, z):
        guest.ask("flipfree 0")
    rig.daemon.route(*routes)
    return sum(guest.stop().count for guest in (y, z))


def _show(rig: Rig, y: Guest, z: Guest, expected: dict[int, Picture]) -> None:
    """Each guest its own picture; ``expected`` by screen."""
    y.ask("show 0 3", timeout=60)
    z.ask("show 0 4", timeout=60)
    for screen, picture in expected.items():
        rig.expect_picture(screen, picture)
