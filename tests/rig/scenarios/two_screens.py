# SPDX-License-Identifier: GPL-2.0-or-later
"""Two screens of one card: two guests, and one guest with both."""

from __future__ import annotations

from tests.rig.picture import pattern
from tests.rig.rig import SCREENS, Rig
from tests.rig.scenario import expect, scenario


@scenario(300)
def two_guests_flip(rig: Rig) -> str:
    """Both flip at the same time; each screen shows its own guest's picture; nobody is late."""
    first, second = rig.guest_up("a"), rig.guest_up("b")
    first.ask("mode 0 800x600 XR24")
    second.ask("mode 0 1024x768 RG16", timeout=60)
    before = [len(guest.kernel_log("timed-out")) for guest in (first, second)]
    first.ask("flipfree 0")
    flips_b = second.flip(150)
    flips_a = first.stop()
    expect(flips_a.count > 20, f"the other guest stood still: {flips_a}")
    first.ask("show 0 11")
    second.ask("show 0 12", timeout=60)
    rig.expect_picture(0, pattern(800, 600, 11))
    rig.expect_picture(1, pattern(1024, 768, 12, "RG16"))
    for guest, known in zip((first, second), before, strict=True):
        late = guest.kernel_log("timed-out")[known:]
        expect(not late, f"the log of guest {guest.name}: {late}")
    return f"{flips_a.count} and {flips_b.count} flips"


@scenario(300)
def destroyed_while_flipping(rig: Rig) -> str:
    """A guest destroyed mid-flip: nothing of it stays, the other goes on, and it can start again."""
    first, second = rig.guest_up("a"), rig.guest_up("b")
    pid = rig.daemon.pid()
    second.ask("mode 0 1024x768 XR24", timeout=60)
    first.ask("mode 0 800x600 XR24")
    first.ask("flipfree 0")
    seconds = first.destroy()
    expect(seconds < 9, f"xl destroy took {seconds:.1f} s: the backend did not answer")
    rig.no_zombies()
    second.flip(20)
    rig.expect_picture(1, pattern(1024, 768, 0))
    first.up()
    first.ask("mode 0 800x600 XR24")
    rig.expect_picture(0, pattern(800, 600, 0))
    expect(rig.daemon.pid() == pid, "the daemon was started anew")
    return f"xl destroy took {seconds:.1f} s"


@scenario(300)
def one_guest_two_screens(rig: Rig) -> str:
    """One guest with two connectors of different sizes: both exact, each flips by itself."""
    for name in SCREENS:
        rig.guest(name).destroy()
    guest = rig.guest("d", "Virtual-1:800x600;Virtual-2:1024x768")
    try:
        modes = guest.up().open()
        expect(modes == "2 800x600 1024x768", f"connectors: {modes!r}")
        guest.ask("mode 0 800x600 XR24", timeout=60)
        guest.ask("mode 1 1024x768 RG16", timeout=60)
        rig.expect_picture(0, pattern(800, 600, 0))
        rig.expect_picture(1, pattern(1024, 768, 0, "RG16"))
        guest.ask("show 1 8")
        guest.ask("show 0 5")
        rig.expect_picture(0, pattern(800, 600, 5))
        rig.expect_picture(1, pattern(1024, 768, 8, "RG16"))
    finally:
        guest.destroy()
    rig.no_zombies()
    return modes
