# SPDX-License-Identifier: GPL-2.0-or-later
"""Several guests on one output, on planes or composed."""

from __future__ import annotations

import errno
import os

import pytest
import trio

from tests.frontend.conftest import Machine
from tests.outputs.kit import (
    BLUE,
    GREEN,
    RED,
    configured,
    goes_on,
    is_black,
    playing,
    running,
    running_state,
    shows,
    until,
)
from xendisplback.errors import HostError
from xendisplback.scanout.composition import Composition
from xendisplback.sim.device import DisplayDevice

BACKGROUND = 0x102030

CAMERA = configured("""
[output.HDMI-A-1]
mode = "800x600"
[[output.HDMI-A-1.layer]]
name = "main"
zpos = 0
[[output.HDMI-A-1.layer]]
name = "camera"
zpos = 1
x = 400
y = 300
width = 320
height = 200
""")
"""A small layer in front of one that covers the output."""


DEVICES = {
    "composed": lambda: DisplayDevice(),
    "on planes": lambda: DisplayDevice(overlays=2),
    "composed, too many planes": lambda: DisplayDevice(overlays=2, most_planes=1),
}


def how(m: Machine, guest: str) -> str:
    return str(running_state(m)["guest"][guest]["how"])


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> DisplayDevice:
    return DEVICES[request.param]()


async def test_two_guests_share_an_output(device: DisplayDevice) -> None:
    async with (
        running(device, config=CAMERA) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as first,
        playing(m, "linux2", "HDMI-A-1/camera", BLUE, (320, 200)) as second,
    ):
        await shows(m, "HDMI-A-1", RED, 10, 10)
        await shows(m, "HDMI-A-1", BLUE, 450, 350)
        await shows(m, "HDMI-A-1", RED, 399, 350)
        await shows(m, "HDMI-A-1", RED, 720, 350)
        await shows(m, "HDMI-A-1", BLUE, 719, 499)
        await goes_on(first)
        await goes_on(second)


async def test_both_guests_get_every_vblank(device: DisplayDevice) -> None:
    async with (
        running(device, config=CAMERA) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as first,
        playing(m, "linux2", "HDMI-A-1/camera", BLUE, (320, 200)) as second,
    ):
        await trio.sleep(0.3)
        before = first.display.flips, second.display.flips
        await trio.sleep(1)
        after = first.display.flips, second.display.flips
        assert after[0] - before[0] > 45
        assert after[1] - before[1] > 45


async def test_a_guest_that_stops_flipping_holds_nobody_back(device: DisplayDevice) -> None:
    async with (
        running(device, config=CAMERA) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as first,
        playing(m, "linux2", "HDMI-A-1/camera", BLUE, (320, 200)) as second,
    ):
        second.pause()
        await goes_on(first)
        await shows(m, "HDMI-A-1", BLUE, 450, 350)
        second.go_on()
        await goes_on(second)


async def test_what_is_behind_a_layer_comes_back_when_its_guest_goes(
    device: DisplayDevice,
) -> None:
    async with running(device, config=CAMERA) as m, playing(m, "linux1", "HDMI-A-1", RED) as first:
        domain = await m.domain(("HDMI-A-1/camera", "320x200"), name="linux2")
        framebuffer = await domain.guest.create_framebuffer(320, 200, "XR24")
        framebuffer.buffer.pixels[:] = bytes([255]) * len(framebuffer.buffer.pixels)
        await domain.guest.displays[0].enable(framebuffer)
        await shows(m, "HDMI-A-1", 0xFFFFFF, 450, 350)
        await m.host.toolstack.destroy(domain)
        await shows(m, "HDMI-A-1", RED, 450, 350)
        await m.released(domain.domid)
        await goes_on(first)


async def test_a_layer_that_is_covered_is_not_shown_and_its_guest_runs_on() -> None:
    covering = configured("""
        [output.HDMI-A-1]
        mode = "800x600"
        [[output.HDMI-A-1.layer]]
        name = "main"
        x = 0
        y = 0
        width = 320
        height = 200
        [[output.HDMI-A-1.layer]]
        name = "lock"
        zpos = 9
    """)
    async with (
        running(config=covering) as m,
        playing(m, "linux1", "HDMI-A-1/main", RED, (320, 200)) as first,
    ):
        await shows(m, "HDMI-A-1", RED)
        async with playing(m, "linux2", "HDMI-A-1/lock", GREEN) as second:
            await shows(m, "HDMI-A-1", GREEN)
            await until(lambda: "behind lock" in how(m, "linux1/0/0"), "not covered")
            await goes_on(first)
            await goes_on(second)
        await shows(m, "HDMI-A-1", RED)
        await goes_on(first)


async def test_the_background_is_seen_where_no_layer_is() -> None:
    framed = configured("""
        [output.HDMI-A-1]
        mode = "800x600"
        safe = "#102030"
        [[output.HDMI-A-1.layer]]
        name = "main"
        x = 100
        y = 100
        width = 320
        height = 200
    """)
    async with running(config=framed) as m:
        await shows(m, "HDMI-A-1", BACKGROUND)
        async with playing(m, "linux1", "HDMI-A-1", RED, (320, 200)):
            await shows(m, "HDMI-A-1", RED, 150, 150)
            await shows(m, "HDMI-A-1", BACKGROUND, 99, 150)
        await shows(m, "HDMI-A-1", BACKGROUND, 150, 150)


async def test_a_layout_larger_than_the_monitors_mode_is_told_and_shows_nothing() -> None:
    large = configured("""
        [[output.HDMI-A-1.layer]]
        name = "main"
        x = 0
        y = 0
        width = 4000
        height = 2000
    """)
    async with running(config=large) as m, playing(m, "linux1", "HDMI-A-2", RED) as player:
        await shows(m, "HDMI-A-2", RED)
        await is_black(m, "HDMI-A-1")
        await goes_on(player)


async def test_a_composition_that_the_card_refuses_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = DisplayDevice()
    refused: list[int] = []

    def refuse(_composition: Composition, _picture: object) -> None:
        refused.append(len(device.objects.framebuffers))
        if len(refused) == 3:
            monkeypatch.undo()
        raise HostError("commit refused", errno=errno.EIO)

    async with running(device, config=CAMERA) as m:
        monkeypatch.setattr(Composition, "show", refuse)
        threads = len(os.listdir("/proc/self/task"))
        domain = await m.domain(("HDMI-A-1/camera", "320x200"))
        frame = await domain.guest.create_framebuffer(320, 200, "XR24")
        while running_state(m)["output"]["HDMI-A-1"]["layer"][1]["state"] != "shown":
            await domain.guest.displays[0].enable(frame)
        assert refused[0] == refused[1] == refused[2]
        # Its own thread, and those that trio keeps for a while.
        assert len(os.listdir("/proc/self/task")) <= threads + 3


async def test_the_way_of_each_layer_is_told() -> None:
    for overlays, words in ((0, "composed by copy"), (2, "on a plane of its own")):
        async with (
            running(DisplayDevice(overlays=overlays), config=CAMERA) as m,
            playing(m, "linux1", "HDMI-A-1", RED) as first,
            playing(m, "linux2", "HDMI-A-1/camera", BLUE, (320, 200)) as second,
        ):
            await goes_on(first)
            await goes_on(second)
            assert words in running_state(m)["output"]["HDMI-A-1"]["layers-are"]
            expected = "zero copy by plain export" if overlays else "by copy"
            assert expected in how(m, "linux2/0/0")


async def test_a_mirrored_guest_can_be_a_layer_of_one_of_its_outputs(device: DisplayDevice) -> None:
    config = configured(
        '[route]\nlinux2 = ["HDMI-A-1/camera", "HDMI-A-2"]\n'
        '[output.HDMI-A-1]\nmode = "800x600"\n'
        '[[output.HDMI-A-1.layer]]\nname = "main"\n'
        '[[output.HDMI-A-1.layer]]\nname = "camera"\nzpos = 1\n'
        "x = 100\ny = 100\nwidth = 640\nheight = 480"
    )
    async with (
        running(device, config=config) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as first,
        playing(m, "linux2", "HDMI-A-1", BLUE, (640, 480)) as second,
    ):
        await shows(m, "HDMI-A-1", RED, 10, 10)
        await shows(m, "HDMI-A-1", BLUE, 150, 150)
        await shows(m, "HDMI-A-2", BLUE)
        await goes_on(first)
        await goes_on(second)
