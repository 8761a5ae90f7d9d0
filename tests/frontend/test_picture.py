# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest draws is what is on the screen."""

from __future__ import annotations

import os

import pytest
import trio

from tests.frontend.conftest import Machine, Machines, is_dark
from xendisplback.config import Config
from xendisplback.protocol.formats import FORMATS, fourcc
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.guest_buffer import GuestFramebuffer


def screen(machine: Machine, name: str = "HDMI-A-1") -> bytes:
    shot = machine.host.device.screen(name)
    assert shot is not None, f"{name} is dark"
    return bytes(shot.pixels)


def draw_noise(framebuffer: GuestFramebuffer, size: int) -> bytes:
    """Random XRGB8888 pixels; returns them as the screen shows them."""
    pixels = bytearray(os.urandom(size))
    framebuffer.buffer.pixels[:size] = pixels
    pixels[3::4] = bytes(size // 4)
    return bytes(pixels)


async def test_the_first_picture_is_exact(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        expected = draw_noise(framebuffer, 800 * 600 * 4)
        await guest.displays[0].enable(framebuffer)
        assert screen(m) == expected


async def test_each_flip_shows_its_own_picture_before_the_event(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        frames = [await guest.create_framebuffer(800, 600, "XR24") for _ in range(2)]
        await guest.displays[0].enable(frames[0])
        for number in range(20):
            expected = draw_noise(frames[number % 2], 800 * 600 * 4)
            await guest.displays[0].flip(frames[number % 2])
            assert screen(m) == expected
        assert guest.displays[0].skipped_events == 0
        assert guest.displays[0].frame_done_timeouts == 0


@pytest.mark.parametrize("align", [1, 64])
async def test_an_odd_width_is_shown_with_the_pitch_the_guest_uses(
    machine: Machines, align: int
) -> None:
    device = DisplayDevice(connectors=["HDMI-A-1"], modes=["1366x768"])
    async with machine([device]) as m:
        guest = await m.guest(("HDMI-A-1", "1366x768"))
        framebuffer = await guest.create_framebuffer(1366, 768, "XR24", pitch_align=align)
        framebuffer.fill(0x123456)
        await guest.displays[0].enable(framebuffer)
        assert screen(m) == bytes.fromhex("56341200") * (1366 * 768)


@pytest.mark.parametrize("name", [fmt.name for fmt in FORMATS.values()])
async def test_every_format_of_the_linux_frontend_is_shown_on_a_plane_that_lacks_it(
    machine: Machines, name: str
) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, name)
        size = 800 * 600 * FORMATS[fourcc(name)].bytes_per_pixel
        white = b"\xeb\x80" if name == "YUYV" else b"\xff"
        framebuffer.buffer.pixels[:size] = white * (size // len(white))
        await guest.displays[0].enable(framebuffer)
        shown = screen(m)
        assert set(shown[0::4]) == set(shown[1::4]) == set(shown[2::4]) == {0xFF}


async def test_a_flip_to_another_format_is_shown(machine: Machines) -> None:
    device = DisplayDevice(connectors=["HDMI-A-1"], formats=["XR24", "RG16"])
    async with machine([device]) as m:
        guest = await m.guest()
        small = await guest.create_framebuffer(800, 600, "RG16")
        large = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(small)
        expected = draw_noise(large, 800 * 600 * 4)
        await guest.displays[0].flip(large)
        assert screen(m) == expected


async def test_an_imported_buffer_is_shown_from_its_offset(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24", imported=True)
        framebuffer.fill(0x00FF7F)
        await guest.displays[0].enable(framebuffer)
        assert screen(m) == bytes.fromhex("7fff0000") * (800 * 600)


async def test_drawing_into_the_visible_buffer_appears_without_a_flip(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(framebuffer)
        expected = draw_noise(framebuffer, 800 * 600 * 4)
        with trio.fail_after(2):
            while screen(m) != expected:
                await trio.sleep(0.02)


async def test_with_refresh_rate_0_nothing_is_copied_without_a_flip(machine: Machines) -> None:
    async with machine(config=Config(refresh_rate=0)) as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(framebuffer)
        before = m.host.device.commits
        framebuffer.fill(0xFFFFFF)
        await trio.sleep(0.5)
        assert m.host.device.commits == before


async def test_a_guest_that_flips_is_not_refreshed(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        frames = [await guest.create_framebuffer(800, 600, "XR24") for _ in range(2)]
        await guest.displays[0].enable(frames[0])
        await guest.displays[0].flip(frames[1])
        before = m.host.device.commits
        for number in range(60):
            await guest.displays[0].flip(frames[number % 2])
        # The one refresh that may have begun before the first flip.
        assert m.host.device.commits - before <= 61


async def test_a_picture_smaller_than_every_mode_is_centred_on_black(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest(("HDMI-A-1", "640x400"))
        framebuffer = await guest.create_framebuffer(640, 400, "XR24")
        framebuffer.fill(0xFFFFFF)
        await guest.displays[0].enable(framebuffer)
        shot = m.host.device.screen("HDMI-A-1")
        assert shot is not None
        row = bytes(shot.pixels)[(shot.height // 2) * shot.width * 4 :][: shot.width * 4]
        left = (shot.width - 640) // 2
        white = bytes.fromhex("ffffff00")
        assert row == bytes(left * 4) + white * 640 + bytes((shot.width - 640 - left) * 4)


async def test_two_guests_on_two_screens_show_their_own(machine: Machines) -> None:
    async with machine() as m:
        for output, colour in (("HDMI-A-1", 0xFF0000), ("HDMI-A-2", 0x0000FF)):
            guest = await m.guest((output, "800x600"), name=output)
            framebuffer = await guest.create_framebuffer(800, 600, "XR24")
            framebuffer.fill(colour)
            await guest.displays[0].enable(framebuffer)
        assert screen(m, "HDMI-A-1") == bytes.fromhex("0000ff00") * (800 * 600)
        assert screen(m, "HDMI-A-2") == bytes.fromhex("ff000000") * (800 * 600)


async def test_one_guest_with_two_connectors_shows_both(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest(("HDMI-A-1", "800x600"), ("HDMI-A-2", "1024x768"))
        sizes = ((800, 600), (1024, 768))
        for display, (width, height) in zip(guest.displays, sizes, strict=True):
            framebuffer = await guest.create_framebuffer(width, height, "XR24")
            framebuffer.fill(width)
            await display.enable(framebuffer)
        for name, (width, height) in zip(("HDMI-A-1", "HDMI-A-2"), sizes, strict=True):
            assert screen(m, name) == width.to_bytes(4, "little") * (width * height)


async def test_disable_darkens_and_enable_shows_again(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        framebuffer.fill(0xFFFFFF)
        await guest.displays[0].enable(framebuffer)
        await guest.displays[0].disable()
        assert is_dark(m.host)
        await guest.displays[0].enable(framebuffer)
        assert set(screen(m)) == {0, 0xFF}


async def test_a_flip_while_disabled_completes_on_the_timer(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].flip(framebuffer)
        await guest.displays[0].enable(framebuffer)
        await guest.displays[0].disable()
        await guest.displays[0].flip(framebuffer)
        assert guest.displays[0].frame_done_timeouts == 0
        assert is_dark(m.host)


async def test_detaching_the_framebuffer_on_screen_blanks_first(machine: Machines) -> None:
    async with machine() as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(framebuffer)
        await guest.fb_detach(framebuffer)
        assert is_dark(m.host)


async def test_without_a_monitor_flips_complete_at_60_hz(machine: Machines) -> None:
    device = DisplayDevice(connectors=["HDMI-A-1"])
    device.disconnect("HDMI-A-1")
    async with machine([device]) as m:
        guest = await m.guest()
        framebuffer = await guest.create_framebuffer(800, 600, "XR24")
        await guest.displays[0].enable(framebuffer)
        start = trio.current_time()
        for _ in range(12):
            await guest.displays[0].flip(framebuffer)
        assert 0.15 < trio.current_time() - start < 1.0
