# SPDX-License-Identifier: GPL-2.0-or-later
"""What a screen shows where no guest is."""

from __future__ import annotations

import pytest
import trio

from tests.outputs.kit import (
    RED,
    colour_at,
    configured,
    goes_on,
    is_black,
    playing,
    running,
    shows,
)
from xendisplback.sim.png import write_png

SAFE = 0x102030
COLOUR = configured('[output.HDMI-A-1]\nsafe = "#102030"\nmode = "800x600"')
STALLING = configured('[output.HDMI-A-1]\nsafe = "#102030"\nmode = "800x600"\nstalled-after = 0.5')


async def test_a_colour_before_a_guest_and_after_it() -> None:
    async with running(config=COLOUR) as m:
        await shows(m, "HDMI-A-1", SAFE)
        async with playing(m, "linux1", "HDMI-A-1", RED) as player:
            await shows(m, "HDMI-A-1", RED)
            await goes_on(player)
        await shows(m, "HDMI-A-1", SAFE)


async def test_an_output_without_one_is_not_touched_until_a_guest_wants_it() -> None:
    async with running(config=COLOUR) as m:
        await shows(m, "HDMI-A-1", SAFE)
        assert colour_at(m.host, "HDMI-A-2") is None


async def test_a_stalled_guest_gives_way_until_it_flips_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "xendisplback")
    async with (
        running(config=STALLING) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as player,
    ):
        await trio.sleep(0.8)
        assert colour_at(m.host, "HDMI-A-1") == RED
        for count in (1, 2):
            player.pause()
            await shows(m, "HDMI-A-1", SAFE)
            player.go_on()
            await shows(m, "HDMI-A-1", RED)
            assert "stalled: nothing new for 0.5 s" in caplog.text
            assert "goes on after a stall" in caplog.text
            guests = m.service.outputs.layout()["guest"]
            assert isinstance(guests, dict)
            assert guests["linux1/0/0"]["stalls"] == count
        await goes_on(player)


async def test_a_guest_that_is_switched_off_is_not_stalled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(config=STALLING) as m:
        domain = await m.domain(name="linux1")
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        await domain.guest.displays[0].enable(framebuffer)
        await domain.guest.displays[0].disable()
        await trio.sleep(1)
        assert "stalled" not in caplog.text
        await shows(m, "HDMI-A-1", SAFE)


async def test_a_copied_guest_that_draws_without_flipping_is_not_stalled() -> None:
    toml = '[output.HDMI-A-1]\nsafe = "#102030"\nmode = "800x600"\nstalled-after = 0.5\n'
    copying = configured(toml + '[card."driver:sim"]\nzero-copy = "never"')
    async with running(config=copying) as m:
        domain = await m.domain(name="linux1")
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        await domain.guest.displays[0].enable(framebuffer)
        for shade in range(1, 9):
            framebuffer.buffer.pixels[:] = bytes([shade]) * len(framebuffer.buffer.pixels)
            await trio.sleep(0.2)
            await shows(m, "HDMI-A-1", shade * 0x010101)
        await shows(m, "HDMI-A-1", SAFE)
        framebuffer.buffer.pixels[:] = bytes([77]) * len(framebuffer.buffer.pixels)
        await shows(m, "HDMI-A-1", 77 * 0x010101)


async def test_a_missing_picture_is_named_and_guests_are_shown_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    missing = configured('[output.HDMI-A-1]\nsafe = "/nowhere/none.png"')
    async with (
        running(config=missing) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as player,
    ):
        await shows(m, "HDMI-A-1", RED)
        await goes_on(player)
        assert "/nowhere/none.png" in caplog.text
    _ = is_black, write_png
