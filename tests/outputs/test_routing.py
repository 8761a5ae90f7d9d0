# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests moved about while they run; they notice nothing."""

from __future__ import annotations

import errno

import pytest

from tests.frontend.conftest import Machine
from tests.outputs.kit import (
    BLUE,
    GREEN,
    RED,
    colour_at,
    configured,
    goes_on,
    is_black,
    playing,
    running,
    running_state,
    shows,
)
from xendisplback.config import Config
from xendisplback.errors import HostError
from xendisplback.scanout.layout import GuestName, Layout, Place
from xendisplback.sim.guest_channel import GuestError


async def route(m: Machine, **places: str) -> None:
    """As the command line: ``route(m, linux1="HDMI-A-1,HDMI-A-2", linux2="", linux3="default")``."""
    await m.service.outputs.route(
        {
            GuestName(guest): None
            if text == "default"
            else tuple(Place.parse(each) for each in text.split(",") if each)
            for guest, text in places.items()
        }
    )


async def test_a_guest_moves_and_comes_back() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        await shows(m, "HDMI-A-1", RED)
        await route(m, linux1="HDMI-A-2")
        await shows(m, "HDMI-A-2", RED)
        await is_black(m, "HDMI-A-1")
        await goes_on(player)
        await route(m, linux1="default")
        await shows(m, "HDMI-A-1", RED)
        await is_black(m, "HDMI-A-2")
        await goes_on(player)


async def test_two_guests_are_swapped_in_one_step() -> None:
    async with (
        running() as m,
        playing(m, "linux1", "HDMI-A-1", RED) as first,
        playing(m, "linux2", "HDMI-A-2", BLUE) as second,
    ):
        for _ in range(3):
            await route(m, linux1="HDMI-A-2", linux2="HDMI-A-1")
            await shows(m, "HDMI-A-1", BLUE)
            await shows(m, "HDMI-A-2", RED)
            await route(m, linux1="HDMI-A-1", linux2="HDMI-A-2")
            await shows(m, "HDMI-A-1", RED)
            await shows(m, "HDMI-A-2", BLUE)
        await goes_on(first)
        await goes_on(second)


async def test_a_guest_is_mirrored_and_both_screens_follow() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        await route(m, linux1="HDMI-A-1,HDMI-A-2")
        await shows(m, "HDMI-A-2", RED)
        await shows(m, "HDMI-A-1", RED)
        before = [m.host.device.flips(f"HDMI-A-{n}") for n in (1, 2)]
        await goes_on(player)
        after = [m.host.device.flips(f"HDMI-A-{n}") for n in (1, 2)]
        assert all(then - now >= 4 for now, then in zip(before, after, strict=True))
        await route(m, linux1="HDMI-A-2")
        await is_black(m, "HDMI-A-1")
        await goes_on(player)
        assert colour_at(m.host, "HDMI-A-2") == RED


async def test_routed_to_none_a_guest_runs_on_in_the_dark() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        await route(m, linux1="")
        await is_black(m, "HDMI-A-1")
        await goes_on(player)
        await route(m, linux1="HDMI-A-1")
        await shows(m, "HDMI-A-1", RED)


async def test_a_switch_for_one_screen_and_three_guests() -> None:
    """As a KVM switch does: those that are not shown wait in the dark."""
    config = Config(route={"linux2": [], "linux3": []})
    async with (
        running(config=config) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as first,
        playing(m, "linux2", "HDMI-A-1", GREEN) as second,
        playing(m, "linux3", "HDMI-A-1", BLUE) as third,
    ):
        await shows(m, "HDMI-A-1", RED)
        await route(m, linux1="", linux2="HDMI-A-1")
        await shows(m, "HDMI-A-1", GREEN)
        await route(m, linux2="", linux3="HDMI-A-1")
        await shows(m, "HDMI-A-1", BLUE)
        await route(m, linux3="", linux1="default")
        await shows(m, "HDMI-A-1", RED)
        for player in (first, second, third):
            await goes_on(player)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"linux1": "HDMI-A-9"}, "no output 'HDMI-A-9'; outputs here: HDMI-A-1, HDMI-A-2"),
        ({"linux1": "HDMI-A-1/top"}, "has no layer 'top'"),
        ({"linux1": "HDMI-A-2"}, "can't show two guests"),
        ({"linux1": "HDMI-A-1,HDMI-A-1"}, "twice on one output"),
    ],
)
async def test_what_can_not_be_changes_nothing(places: dict[str, str], message: str) -> None:
    async with (
        running() as m,
        playing(m, "linux1", "HDMI-A-1", RED) as first,
        playing(m, "linux2", "HDMI-A-2", BLUE),
    ):
        before = m.service.outputs.layout()["route"]
        with pytest.raises(HostError) as caught:
            await route(m, **places)
        assert message in str(caught.value)
        assert m.service.outputs.layout()["route"] == before
        assert colour_at(m.host, "HDMI-A-1") == RED
        assert colour_at(m.host, "HDMI-A-2") == BLUE
        await goes_on(first)


async def test_a_second_guest_does_not_get_a_place_that_is_held() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED):
        second = await m.guest(("HDMI-A-1", "800x600"), name="linux2")
        framebuffer = await second.create_framebuffer(800, 600, "XR24")
        with pytest.raises(GuestError) as caught:
            await second.displays[0].enable(framebuffer)
        assert caught.value.errno == errno.EBUSY
        assert colour_at(m.host, "HDMI-A-1") == RED


async def test_a_guests_end_frees_its_place() -> None:
    async with running() as m:
        domain = await m.domain(name="linux1")
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        framebuffer.buffer.pixels[:] = bytes([255]) * len(framebuffer.buffer.pixels)
        await domain.guest.displays[0].enable(framebuffer)
        await shows(m, "HDMI-A-1", 0xFFFFFF)
        await m.host.toolstack.destroy(domain)
        await m.released(domain.domid)
        await is_black(m, "HDMI-A-1")
        async with playing(m, "linux2", "HDMI-A-1", BLUE):
            await shows(m, "HDMI-A-1", BLUE)


async def test_the_layout_says_who_is_shown_where() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED):
        await shows(m, "HDMI-A-1", RED)
        layout = running_state(m)
        shown = layout["output"]["HDMI-A-1"]
        assert (shown["connected"], shown["showing"]) == (True, "800x600@60")
        assert (shown["layer"][0]["guest"], shown["layer"][0]["state"]) == ("linux1/0/0", "shown")
        assert layout["output"]["HDMI-A-2"]["layer"][0]["state"] == "no guest"
        assert layout["guest"]["linux1/0/0"]["state"] == "shown"
        assert layout["route"] == {}


async def test_another_layout_is_taken() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        await m.service.reload(Config(route={"linux1": ["HDMI-A-2"]}))
        await shows(m, "HDMI-A-2", RED)
        await is_black(m, "HDMI-A-1")
        assert m.service.outputs.layout()["route"] == {"linux1/0/0": ["HDMI-A-2"]}
        await goes_on(player)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('[output.HDMI-A-1]\nsafe = "/nowhere.png"', "/nowhere.png"),
        ('[output.HDMI-A-1]\nmode = "801x600"', "no mode is 801x600"),
        (
            '[[output.HDMI-A-1.layer]]\nname = "a"\nwidth = 9000\nheight = 600',
            "does not fit into the mode",
        ),
        (
            '[route]\nlinux1 = ["HDMI-A-1"]\nlinux2 = ["HDMI-A-1"]',
            "can't show two guests",
        ),
    ],
)
async def test_a_layout_that_can_not_be_shown_is_named_and_the_one_before_stays(
    toml: str, message: str
) -> None:
    before = configured('[output.HDMI-A-1]\nsafe = "#00ff00"')
    async with running(config=before) as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        layout, modesets = running_state(m)["output"], m.host.device.modesets
        with pytest.raises(HostError, match=message):
            await m.service.reload(configured(toml))
        await shows(m, "HDMI-A-1", RED)
        assert m.host.device.modesets == modesets
        assert running_state(m)["output"] == layout
        await goes_on(player)


def test_layouts_of_nothing_are_equal() -> None:
    assert Config().layout == Layout()
