# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest draws is what the screen shows, pixel by pixel."""

from __future__ import annotations

from tests.rig.picture import Picture, pattern
from tests.rig.rig import SCREENS, Rig
from tests.rig.scenario import BOTH, expect, scenario
from tests.rig.smpte import smpte


@scenario(240, machines=BOTH)
def picture_800x600_xr24(rig: Rig) -> str:
    """Mode set and flip at 800x600 in XRGB8888."""
    return _mode_and_flip(rig, "a", 0, "XR24")


@scenario(240)
def picture_800x600_rg16(rig: Rig) -> str:
    """The same in RGB565, which the card lacks: converted."""
    return _mode_and_flip(rig, "a", 0, "RG16")


@scenario(240, machines=BOTH)
def picture_1024x768_xr24(rig: Rig) -> str:
    """A second guest at 1024x768 on the second screen, in XRGB8888."""
    return _mode_and_flip(rig, "b", 1, "XR24")


@scenario(240)
def picture_1024x768_rg16(rig: Rig) -> str:
    """The same in RGB565."""
    return _mode_and_flip(rig, "b", 1, "RG16")


@scenario(240)
def other_formats(rig: Rig) -> str:
    """The other RGB formats the frontend offers, one after the other on one connection."""
    formats = ["AR24", "RG24", "XR15", "AR15", "XR12", "AR12"]
    for fourcc in formats:
        _mode_and_flip(rig, "a", 0, fourcc)
    return " ".join(formats)


@scenario(240)
def front_buffer(rig: Rig) -> str:
    """A guest that draws into the visible buffer and never flips is refreshed."""
    guest = rig.guest_up("a")
    guest.ask("mode 0 800x600 XR24")
    rig.expect_picture(0, pattern(800, 600, 0))
    guest.ask("paint 0 21")
    seconds = rig.expect_picture(0, pattern(800, 600, 21))
    return f"seen after {seconds:.1f} s"


@scenario(240)
def off_and_on(rig: Rig) -> str:
    """The CRTC off: black or no picture; on again: the picture is back, and flips go on."""
    guest = rig.guest_up("a")
    guest.ask("mode 0 800x600 XR24")
    rig.expect_picture(0, pattern(800, 600, 0))
    guest.ask("off 0")
    dump = rig.machine.screendump(0)
    visible = dump[-800 * 600 * 3 :].count(b"\0") < len(dump) // 2
    expect(not visible, "the picture is still on the screen")
    guest.ask("on 0")
    rig.expect_picture(0, pattern(800, 600, 0))
    guest.ask("show 0 5")
    rig.expect_picture(0, pattern(800, 600, 5))
    return ""


@scenario(240)
def modetest_smpte(rig: Rig) -> str:
    """An independent program's picture: modetest's SMPTE bars."""
    guest = rig.guest_up("a")
    guest.ask("close")
    (connector,) = guest.shell(
        "modetest -M xendrm-du -c 2>/dev/null | grep -w connected | head -n 1 | cut -f 1"
    )
    # modetest shows its picture until it reads a line or the end of its input.
    mode = f"-s {int(connector)}:800x600@XR24"
    guest.shell(f"(sleep 12 | modetest -M xendrm-du {mode}) >/tmp/modetest 2>&1 &")
    try:
        rig.expect_picture(0, smpte(800, 600))
    finally:
        guest.shell("sleep 12", timeout=40)
    return ""


def _mode_and_flip(rig: Rig, name: str, head: int, fourcc: str) -> str:
    guest = rig.guest_up(name)
    _, width, height = SCREENS[name]
    answer = guest.ask(f"mode 0 {width}x{height} {fourcc}", timeout=60)
    rig.expect_picture(head, _expected(name, 0, fourcc))
    guest.ask("show 0 37", timeout=60)
    rig.expect_picture(head, _expected(name, 37, fourcc))
    return answer


def _expected(name: str, number: int, fourcc: str) -> Picture:
    _, width, height = SCREENS[name]
    return pattern(width, height, number, fourcc)
