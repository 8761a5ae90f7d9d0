# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's and udev's uevents about cards."""

from __future__ import annotations

import struct

import trio
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.host import DisplayChange
from xendisplback.kms.uevents import display_changes, parse_udev, parse_uevent

CARD = "/devices/pci0000:00/0000:00:02.0/drm/card0"


def uevent(action: str, **values: str) -> bytes:
    lines = [f"{action}@{CARD}", f"ACTION={action}", *(f"{k}={v}" for k, v in values.items())]
    return b"".join(line.encode() + b"\0" for line in lines)


def test_a_card_that_comes_changes_and_goes() -> None:
    for action, gone in (("add", False), ("change", False), ("remove", True)):
        message = uevent(action, SUBSYSTEM="drm", DEVNAME="dri/card3", HOTPLUG="1")
        assert parse_uevent(message, udev=False) == DisplayChange("/dev/dri/card3", gone)


def test_udev_is_waited_for_where_it_runs() -> None:
    """A node of root's alone can't be opened by the daemon's user: udev gives it its group."""
    for action, seen in (("add", False), ("change", True), ("remove", True)):
        message = uevent(action, SUBSYSTEM="drm", DEVNAME="dri/card3")
        assert (parse_uevent(message, udev=True) is not None) == seen


def test_other_devices_are_not_ours() -> None:
    for values in (
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/renderD128"},
        {"SUBSYSTEM": "drm"},
        {"SUBSYSTEM": "net", "DEVNAME": "dri/card0"},
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/card"},
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/card0/../../sda"},
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/card-1"},
    ):
        assert parse_uevent(uevent("change", **values), udev=False) is None


def test_udevs_own_messages_are_not_the_kernels() -> None:
    assert (
        parse_uevent(of_udev("add", SUBSYSTEM="drm", DEVNAME="/dev/dri/card0"), udev=False) is None
    )


def of_udev(action: str, **values: str) -> bytes:
    """As seen with udevd 252: a header of 40 bytes, then the properties."""
    properties = uevent(action, **values).partition(b"\0")[2]
    lengths = struct.pack("=III", 40, 40, len(properties))
    return b"libudev\0\xfe\xed\xca\xfe" + lengths + bytes(16) + properties


def test_udev_says_when_a_new_card_can_be_opened() -> None:
    message = of_udev("add", SUBSYSTEM="drm", DEVNAME="/dev/dri/card3")
    assert parse_udev(message) == DisplayChange("/dev/dri/card3", gone=False)
    # The kernel has said these.
    for action in ("change", "remove", "bind"):
        assert parse_udev(of_udev(action, SUBSYSTEM="drm", DEVNAME="/dev/dri/card3")) is None
    assert parse_udev(of_udev("add", SUBSYSTEM="input", DEVNAME="/dev/input/event0")) is None
    assert parse_udev(uevent("add", SUBSYSTEM="drm", DEVNAME="dri/card3")) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(message: bytes) -> None:
    parse_uevent(message, udev=True)
    parse_uevent(uevent("change", SUBSYSTEM="drm") + b"DEVNAME=dri/card" + message, udev=False)
    parse_udev(message)
    parse_udev(of_udev("add", SUBSYSTEM="drm")[:12] + message)
    parse_udev(of_udev("add", SUBSYSTEM="drm") + b"DEVNAME=dri/card" + message)


async def test_the_socket_is_the_kernels_and_udevs() -> None:
    """Whether anything comes depends on the machine; that nothing is wrong does not."""
    with trio.move_on_after(0.2):
        async with display_changes() as changes:
            async for change in changes:
                assert change.path is None or change.path.startswith("/dev/dri/card")
