# SPDX-License-Identifier: GPL-2.0-or-later
"""Monitors and cards that come and go: the guest goes on, and its latest frame is there when they are."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.rig.dom0_link import Dom0
from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64, BOCHS, BOCHS_ADDRESS, GPU
from tests.rig.picture import Picture, difference, parse_ppm, pattern
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario
from tests.rig.vkms import vkms

HERE = (ARM64.name,)
BOCHS_DRIVER = "/sys/bus/pci/drivers/bochs-drm"
# Longer than what Linux' frontend waits for a flip (3 s) before it says "timed-out".
AWAY_SECONDS = 4.0


def went_on(guest: Guest) -> int:
    """Flips since "flipfree": it was never kept waiting."""
    flips = guest.stop()
    expect(flips.count > 20, f"the guest stood still: {flips}")
    late = guest.kernel_log("timed-out")
    expect(not late, f"the log of guest {guest.name}: {late}")
    return flips.count


def not_shown(rig: Rig, screen: int, picture: Picture) -> None:
    """A virtual output without a monitor can still be seen: it must not have been used."""
    seen = parse_ppm(rig.machine.screendump(screen))
    expect(difference(seen, picture) is not None, "shown without a monitor")


def card_of(dom0: Dom0, output: str) -> str:
    """``card1``."""
    return dom0.shell(f"basename $(dirname $(readlink -f /sys/class/drm/*-{output}))").strip()


@contextmanager
def bochs_without_driver(rig: Rig) -> Generator[None]:
    """Its driver is unbound once the daemon holds nothing of it any more, and bound again at the end."""
    card = card_of(rig.dom0, "Virtual-2")
    unbind = f"echo {BOCHS_ADDRESS} >{BOCHS_DRIVER}/unbind"
    bind = f"echo {BOCHS_ADDRESS} >{BOCHS_DRIVER}/bind"
    rig.dom0.shell(unbind)
    try:
        rig.daemon.wait_until_closed(card)
        yield
    except BaseException:
        # Who still holds it has its number; other scenarios want Virtual-2.
        rig.daemon.stop()
        rig.dom0.shell(f"{bind}; {unbind}")
        raise
    finally:
        rig.dom0.shell(bind)


@scenario(120, machines=HERE)
def monitor_comes_and_goes(rig: Rig) -> str:
    """No monitor when the daemon starts; it appears, disappears mid-flip, and comes back: latest frame shown."""
    rig.machine.unplug(GPU)
    try:
        rig.daemon.restart()
        with rig.own_guest("z", "Virtual-1:800x600") as guest:
            guest.ask("mode 0 800x600 XR24")
            guest.flip(20)
            guest.ask("show 0 3")
            not_shown(rig, GPU, pattern(800, 600, 3))
            rig.machine.plug(GPU)
            first = rig.expect_picture(GPU, pattern(800, 600, 3))
            guest.ask("flipfree 0")
            rig.machine.unplug(GPU)
            time.sleep(AWAY_SECONDS)
            flips = went_on(guest)
            guest.ask("show 0 4")
            not_shown(rig, GPU, pattern(800, 600, 4))
            rig.machine.plug(GPU)
            again = rig.expect_picture(GPU, pattern(800, 600, 4))
            guest.flip(20)
            guest.ask("show 0 5")
            rig.expect_picture(GPU, pattern(800, 600, 5))
    finally:
        rig.machine.plug(GPU)
    return f"shown after {first:.1f} and {again:.1f} s; {flips} flips while it was away"


@scenario(120, machines=HERE)
def driver_unbound_and_bound(rig: Rig) -> str:
    """The card's driver is unbound mid-flip and bound again: the same output, and the latest frame on it."""
    with rig.own_guest("z", "Virtual-2:800x600") as guest:
        guest.ask("mode 0 800x600 XR24")
        guest.ask("show 0 3")
        rig.expect_picture(BOCHS, pattern(800, 600, 3))
        guest.ask("flipfree 0")
        with bochs_without_driver(rig):
            time.sleep(AWAY_SECONDS)
            flips = went_on(guest)
            guest.ask("show 0 4")
        seconds = rig.expect_picture(BOCHS, pattern(800, 600, 4))
        guest.flip(20)
        guest.ask("show 0 5")
        rig.expect_picture(BOCHS, pattern(800, 600, 5))
    return f"shown after {seconds:.1f} s; {flips} flips while it was away"


@scenario(120, machines=HERE)
def card_comes_and_goes(rig: Rig) -> str:
    """No card when the daemon starts; a vkms instance appears, its monitor and it itself go and come back."""
    with vkms(rig) as card:
        name = card.output(0)
        card.disable()
        with (
            rig.daemon.configured('cards = ["driver:vkms"]\n'),
            rig.own_guest("z", f"{name}:800x600") as guest,
        ):
            guest.ask("mode 0 800x600 XR24")
            guest.ask("show 0 3")
            card.enable()
            card.expect_picture(0, pattern(800, 600, 3))
            guest.ask("flipfree 0")
            card.unplug(0)
            time.sleep(1)
            card.plug(0)
            number = card_of(rig.dom0, name)
            card.disable()
            rig.daemon.wait_until_closed(number)
            flips = went_on(guest)
            guest.ask("show 0 4")
            card.enable()
            expect(card.output(0) == name, f"the output is {card.output(0)} now, not {name}")
            seconds = card.expect_picture(0, pattern(800, 600, 4))
            guest.flip(20)
    return f"shown after {seconds:.1f} s; {flips} flips meanwhile"
