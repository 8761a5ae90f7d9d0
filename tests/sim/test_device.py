# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated display device keeps the rules of a real one."""

from __future__ import annotations

import ctypes
import errno
import itertools
import select
import time
from collections.abc import Iterator

import pytest

from tests.commits import submit
from tests.drm_events import FlipEvent, read_events
from tests.sim.kit import flip_to, modeset
from xendisplback.errors import HostError
from xendisplback.protocol.formats import fourcc
from xendisplback.sim.card import SimCard
from xendisplback.sim.device import PERIOD, DisplayDevice
from xendisplback.sim.framebuffers import SimDumbFramebuffer

OUTPUT = "HDMI-A-1"
XR24, RG16 = fourcc("XR24"), fourcc("RG16")


@pytest.fixture
def device() -> Iterator[DisplayDevice]:
    device = DisplayDevice(formats=["XR24", "RG16"])
    device.start()
    yield device
    device.stop()


@pytest.fixture
def card(device: DisplayDevice) -> Iterator[SimCard]:
    card = SimCard(device)
    yield card
    card.close()


def light(card: SimCard, format: int = XR24) -> SimDumbFramebuffer:
    framebuffer = card.dumb_framebuffer(800, 600, format)
    modeset(card, framebuffer).commit(allow_modeset=True)
    return framebuffer


def paint(framebuffer: SimDumbFramebuffer, pixel: bytes) -> None:
    ctypes.memmove(framebuffer.address, pixel * (framebuffer.size // len(pixel)), framebuffer.size)


def next_event(card: SimCard) -> FlipEvent:
    (event,) = read_events(card.fd)
    return event


@pytest.mark.parametrize(
    ("format", "pixel", "colour"),
    [(XR24, b"\x11\x22\x33\xff", 0x332211), (RG16, b"\x00\xf8", 0xFF0000)],
)
def test_a_modeset_shows_the_framebuffer(
    device: DisplayDevice, card: SimCard, format: int, pixel: bytes, colour: int
) -> None:
    assert device.screen(OUTPUT) is None
    paint(light(card, format), pixel)
    screen = device.screen(OUTPUT)
    assert screen is not None
    assert (screen.width, screen.height) == (800, 600)
    assert screen.pixels == (colour.to_bytes(3, "little") + b"\0") * 800 * 600
    assert screen.colour(799, 599) == colour
    assert device.screen("HDMI-A-2") is None


def test_modesets_that_drivers_refuse(card: SimCard) -> None:
    good = card.dumb_framebuffer(800, 600, XR24)
    cases = {
        "not allowed": (modeset(card, good), False, errno.EINVAL),
        "too small": (
            modeset(card, card.dumb_framebuffer(640, 480, XR24), (800, 600)),
            True,
            errno.ENOSPC,
        ),
        "wrong format": (
            modeset(card, card.dumb_framebuffer(800, 600, fourcc("XR15"))),
            True,
            errno.EINVAL,
        ),
    }
    for name, (request, allow, number) in cases.items():
        assert not request.test(allow_modeset=allow), name
        with pytest.raises(HostError) as caught:
            request.commit(allow_modeset=allow)
        assert caught.value.errno == number, name
    with pytest.raises(HostError, match="no property"):
        card.atomic().add(card.planes[0], {"SRC_Z": 0})


def test_a_flip_is_shown_at_the_next_vblank_with_an_event(
    device: DisplayDevice, card: SimCard
) -> None:
    paint(light(card), b"\x01\0\0\0")
    second = card.dumb_framebuffer(800, 600, XR24)
    paint(second, b"\x02\0\0\0")
    assert read_events(card.fd, seconds=0) == []
    started = time.monotonic()
    assert flip_to(card, second) == 0
    event = next_event(card)
    assert event.crtc_id == card.crtcs[0].id
    assert started < event.seconds < started + 2 * PERIOD
    screen = device.screen(OUTPUT)
    assert screen is not None
    assert screen.colour(0, 0) == 2
    assert device.flips(OUTPUT) == 1
    assert device.log[0].connector == OUTPUT


def test_one_commit_is_in_flight(device: DisplayDevice, card: SimCard) -> None:
    framebuffer = light(card)
    assert flip_to(card, framebuffer) == 0
    assert flip_to(card, framebuffer) == -errno.EBUSY
    next_event(card)
    assert flip_to(card, framebuffer) == 0
    device.refuse_commits = errno.ENOMEM
    next_event(card)
    assert flip_to(card, framebuffer) == -errno.ENOMEM


def test_flips_come_at_60_hz(card: SimCard) -> None:
    framebuffer = light(card)
    times: list[float] = []
    for _ in range(10):
        assert flip_to(card, framebuffer) == 0
        times.append(next_event(card).seconds)
    for earlier, later in itertools.pairwise(times):
        periods = (later - earlier) / PERIOD
        assert periods == pytest.approx(round(periods), abs=0.01)
        assert periods > 0.9


def test_an_unused_commit_answers_ebadf(card: SimCard) -> None:
    framebuffer = light(card)
    request = card.atomic()
    request.add(card.planes[0], {"FB_ID": framebuffer.id})
    prepared = request.prepare_flip(card.crtcs[0])
    prepared.close()
    assert submit(prepared) == -errno.EBADF


def test_removing_the_framebuffer_on_screen_blanks_it(device: DisplayDevice, card: SimCard) -> None:
    framebuffer = light(card)
    paint(framebuffer, b"\xff")
    framebuffer.close()
    framebuffer.close()
    screen = device.screen(OUTPUT)
    assert screen is not None
    assert not any(screen.pixels)
    assert device.framebuffers == 0


def test_monitors_come_and_go_at_a_probe(device: DisplayDevice, card: SimCard) -> None:
    connector = card.connectors[0]
    assert connector.connected
    assert sum(connector.edid) % 256 == 0
    device.disconnect(OUTPUT)
    assert connector.connected
    card.probe()
    assert (connector.connected, connector.modes, connector.edid) == (False, [], b"")
    device.connect(OUTPUT)
    card.probe()
    assert connector.connected


def test_an_unplugged_device(device: DisplayDevice, card: SimCard) -> None:
    framebuffer = light(card)
    device.unplug()
    assert flip_to(card, framebuffer) == -errno.ENODEV
    with pytest.raises(HostError) as caught:
        card.probe()
    assert caught.value.errno == errno.ENODEV
    assert device.screen(OUTPUT) is None
    framebuffer.close()


def test_cards_that_can_not_be_had(device: DisplayDevice, card: SimCard) -> None:
    with pytest.raises(HostError) as caught:
        SimCard(device)
    assert caught.value.errno == errno.EBUSY
    card.close()
    device.dumb = False
    with pytest.raises(HostError, match="dumb buffers"):
        SimCard(device)
    device.dumb = True
    SimCard(device).close()


def test_closing_blanks(device: DisplayDevice, card: SimCard) -> None:
    light(card)
    card.close()
    assert device.screen(OUTPUT) is None


def test_a_stuck_device_shows_no_flip_until_it_recovers(
    device: DisplayDevice, card: SimCard
) -> None:
    framebuffer = light(card)
    device.stuck = True
    assert flip_to(card, framebuffer) == 0
    assert not select.select([card.fd], [], [], 3 * PERIOD)[0]
    assert flip_to(card, framebuffer) == -errno.EBUSY
    device.stuck = False
    next_event(card)
