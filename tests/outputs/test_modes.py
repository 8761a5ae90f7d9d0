# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests whose size no mode has, scaled by planes or by copy."""

from __future__ import annotations

import errno

import pytest

from tests.outputs.kit import (
    RED,
    colour_at,
    configured,
    goes_on,
    playing,
    running,
    running_state,
    shows,
)
from xendisplback.config import Config
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest_channel import GuestError


def fitted(fit: str, mode: str = "1024x768") -> Config:
    return configured(f'[output.HDMI-A-1]\nfit = "{fit}"\nmode = "{mode}"')


@pytest.mark.parametrize("scales", [False, True])
@pytest.mark.parametrize(
    ("fit", "inside", "outside"),
    [
        ("center", [(192, 184), (831, 583)], [(191, 184), (832, 583), (192, 183)]),
        ("letterbox", [(0, 64), (1023, 703)], [(0, 63), (1023, 704)]),
        ("scale", [(0, 0), (1023, 767)], []),
    ],
)
async def test_where_a_640x400_picture_goes_on_1024x768(
    fit: str, inside: list[tuple[int, int]], outside: list[tuple[int, int]], scales: bool
) -> None:
    device = DisplayDevice(scales=scales)
    async with (
        running(device, config=fitted(fit)) as m,
        playing(m, "linux1", "HDMI-A-1", RED, (640, 400)) as player,
    ):
        for x, y in inside:
            await shows(m, "HDMI-A-1", RED, x, y)
        for x, y in outside:
            await shows(m, "HDMI-A-1", 0, x, y)
        await goes_on(player)
        how = running_state(m)["guest"]["linux1/0/0"]["how"]
        direct = fit == "scale" and scales
        assert ("zero copy" if direct else "by copy") in how
        if fit == "scale" and not scales:
            assert "the plane does not scale, or not this memory" in how
        assert running_state(m)["output"]["HDMI-A-1"]["showing"] == "1024x768@60"


async def test_without_a_configured_mode_the_guests_own_is_set() -> None:
    config = configured('[output.HDMI-A-1]\nfit = "scale"')
    async with (
        running(config=config) as m,
        playing(m, "linux1", "HDMI-A-1", RED, (640, 480)),
    ):
        await shows(m, "HDMI-A-1", RED)
        assert running_state(m)["output"]["HDMI-A-1"]["showing"] == "640x480@60"


async def test_exact_refuses_what_has_no_mode(caplog: pytest.LogCaptureFixture) -> None:
    config = configured('[output.HDMI-A-1]\nfit = "exact"')
    async with running(config=config) as m:
        guest = await m.guest(("HDMI-A-1", "700x500"))
        framebuffer = await guest.create_framebuffer(700, 500, "XR24")
        with pytest.raises(GuestError) as caught:
            await guest.displays[0].enable(framebuffer)
        assert caught.value.errno == errno.EINVAL
        assert "1024x768, 800x600, 640x480" in caplog.text
        assert colour_at(m.host, "HDMI-A-1") is None


async def test_a_mode_that_the_monitor_lacks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with running(config=fitted("center", "1600x1200")) as m:
        guest = await m.guest(("HDMI-A-1", "800x600"))
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        with pytest.raises(GuestError):
            await guest.displays[0].enable(framebuffer)
        assert "1600x1200" in caplog.text
