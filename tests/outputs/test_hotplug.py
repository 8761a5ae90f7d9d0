# SPDX-License-Identifier: GPL-2.0-or-later
"""Monitors and cards that come and go under running guests."""

from __future__ import annotations

import errno
import logging

import pytest
import trio

from tests.outputs.kit import (
    BLUE,
    RED,
    Player,
    goes_on,
    is_black,
    playing,
    running,
    running_state,
    shows,
    until,
)
from xendisplback.frontend.memory import GuestMemory
from xendisplback.scanout.frame import Lease
from xendisplback.scanout.ladder import Step
from xendisplback.sim.device import DisplayDevice


async def test_a_monitor_that_is_unplugged_and_plugged_in_shows_the_guest_again() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        for _ in range(2):
            m.host.device.disconnect("HDMI-A-1")
            await is_black(m, "HDMI-A-1")
            await goes_on(player)
            m.host.device.connect("HDMI-A-1")
            await shows(m, "HDMI-A-1", RED)
            await goes_on(player)


async def test_without_flips_too_the_latest_frame_comes_back() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        m.host.device.disconnect("HDMI-A-1")
        await is_black(m, "HDMI-A-1")
        player.pause()
        m.host.device.connect("HDMI-A-1")
        await shows(m, "HDMI-A-1", RED)
        player.go_on()
        await goes_on(player)


async def test_a_monitor_that_goes_while_a_guests_memory_is_exported_stays_dark(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = GuestMemory.dmabuf
    async with running() as m:

        async def unplug_meanwhile(memory: GuestMemory, step: Step, deadline: float) -> Lease:
            lease = await export(memory, step, deadline)
            monkeypatch.undo()
            m.host.device.disconnect("HDMI-A-1")
            await until(lambda: running_state(m)["output"]["HDMI-A-1"]["showing"] is None, "lit")
            caplog.clear()
            return lease

        domain = await m.domain(("HDMI-A-1", "800x600"))
        display = domain.guest.displays[0]
        frames = [await domain.guest.create_framebuffer(800, 600, "XR24") for _ in range(2)]
        await display.enable(frames[0])
        caplog.set_level(logging.INFO)
        monkeypatch.setattr(GuestMemory, "dmabuf", unplug_meanwhile)
        await display.flip(frames[1])
        await until(lambda: "HDMI-A-1 is dark: no monitor" in caplog.text, "it is not said why")
        assert "shown on" not in caplog.text
        assert m.host.device.screen("HDMI-A-1") is None
        m.host.device.connect("HDMI-A-1")
        await until(lambda: "shown on HDMI-A-1 800x600" in caplog.text, "it is not shown again")


async def test_a_guest_that_starts_without_a_monitor_appears_with_it() -> None:
    device = DisplayDevice()
    device.disconnect("HDMI-A-1")
    async with running(device) as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        await goes_on(player)
        device.connect("HDMI-A-1")
        await shows(m, "HDMI-A-1", RED)
        await goes_on(player)


async def test_a_daemon_without_a_card_waits_for_one() -> None:
    device = DisplayDevice()
    async with running(device) as m:
        m.host.remove_device(device)
        async with playing(m, "linux1", "HDMI-A-1", RED) as player:
            await goes_on(player)
            m.host.add_device(DisplayDevice())
            await shows(m, "HDMI-A-1", RED)
            await goes_on(player)


async def test_a_card_that_is_unbound_and_bound_again_shows_the_guest_again() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        for _ in range(2):
            m.host.remove_device(m.host.device)
            await goes_on(player)
            m.host.add_device(DisplayDevice())
            await shows(m, "HDMI-A-1", RED)
            await goes_on(player)


async def test_an_output_whose_commits_fail_is_tried_again_by_itself() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        m.host.device.refuse_commits = errno.EIO
        await until(lambda: _dark_by(m.service.outputs.layout(), "HDMI-A-1"), "it did not fail")
        await goes_on(player)
        m.host.device.refuse_commits = 0
        await shows(m, "HDMI-A-1", RED)
        await goes_on(player)


def _dark_by(layout: object, output: str) -> bool:
    assert isinstance(layout, dict)
    return layout["output"][output]["dark"] is not None


async def test_who_loses_master_gets_its_screens_back_with_it() -> None:
    async with running() as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        m.host.device.lose_master()
        await until(lambda: _dark_by(m.service.outputs.layout(), "HDMI-A-1"), "not noticed")
        await goes_on(player)
        m.host.device.regain_allowed = True
        await shows(m, "HDMI-A-1", RED)
        await goes_on(player)


async def test_what_others_have_lit_is_left_alone_until_its_output_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = DisplayDevice(connectors=["HDMI-A-1", "HDMI-A-2", "HDMI-A-3"])
    # Any connector reaches any CRTC: the first guest could have that of the console's.
    device.light_elsewhere("HDMI-A-1", 0)
    device.light_elsewhere("HDMI-A-2", 1)
    async with running(device) as m, playing(m, "linux1", "HDMI-A-3", RED) as player:
        await shows(m, "HDMI-A-3", RED)
        for output in ("HDMI-A-1", "HDMI-A-2"):
            screen = device.screen(output)
            assert screen is not None
            assert screen.width == 1024
        async with playing(m, "linux2", "HDMI-A-2", BLUE):
            await shows(m, "HDMI-A-2", BLUE)
            assert device.screen("HDMI-A-1") is not None
            await goes_on(player)


async def test_a_crtc_that_others_use_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    device = DisplayDevice()
    device.light_elsewhere("HDMI-A-1", 0)
    device.light_elsewhere("HDMI-A-2", 1)
    # Only the other one's CRTC would be left for the output.
    device.objects.connectors[32].possible_crtcs = 1
    async with running(device) as m, playing(m, "linux1", "HDMI-A-2", RED) as player:
        await until(lambda: "no CRTC" in caplog.text, "it is not said why it is dark")
        assert "lit: HDMI-A-1" in caplog.text
        assert device.screen("HDMI-A-1") is not None
        await goes_on(player)


async def test_what_another_master_left_in_front_is_not_seen_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    device = DisplayDevice(overlays=1)
    async with running(device) as m, playing(m, "linux1", "HDMI-A-1", RED) as player:
        await shows(m, "HDMI-A-1", RED)
        device.lose_master()
        await until(lambda: "dark" in caplog.text, "nobody saw that master was lost")
        device.light_elsewhere("HDMI-A-1", 0, overlays=True)
        device.regain_allowed = True
        await shows(m, "HDMI-A-1", RED)
        await goes_on(player)


async def test_a_reconnecting_guest_needs_no_modeset() -> None:
    async with running() as m:
        domain = await m.domain(name="linux1")
        player = Player(domain, RED, (800, 600))
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        await player.display.enable(framebuffer)
        modesets = m.host.device.modesets
        await player.display.disable()
        await trio.sleep(0.1)
        await player.display.enable(framebuffer)
        await domain.guest.unload()
        await domain.guest.load()
        await domain.guest.connected()
        framebuffer = await domain.guest.create_framebuffer(800, 600, "XR24")
        await domain.guest.displays[0].enable(framebuffer)
        assert m.host.device.modesets == modesets


async def test_cards_come_and_go_many_times_and_another_one_stays() -> None:
    """File descriptors are used again at once: nobody may still wait for an old one."""
    stays = DisplayDevice(["DP-1"], path="/dev/dri/card1")
    async with (
        running(DisplayDevice(), stays) as m,
        playing(m, "linux1", "HDMI-A-1", RED) as player,
        playing(m, "linux2", "DP-1", BLUE) as other,
    ):
        for _ in range(5):
            gone = next(device for device in m.host.devices if device is not stays)
            m.host.remove_device(gone)
            m.host.add_device(DisplayDevice())
            await shows(m, "HDMI-A-1", RED)
        await shows(m, "DP-1", BLUE)
        await goes_on(player)
        await goes_on(other)
