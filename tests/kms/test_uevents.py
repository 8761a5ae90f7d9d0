# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's uevents about cards."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.host import DisplayChange
from xendisplback.kms.uevents import display_changes, parse_uevent

CARD = "/devices/pci0000:00/0000:00:02.0/drm/card0"


def uevent(action: str, **values: str) -> bytes:
    lines = [f"{action}@{CARD}", f"ACTION={action}", *(f"{k}={v}" for k, v in values.items())]
    return b"".join(line.encode() + b"\0" for line in lines)


def test_a_card_that_comes_changes_and_goes() -> None:
    for action, gone in (("add", False), ("change", False), ("remove", True)):
        message = uevent(action, SUBSYSTEM="drm", DEVNAME="dri/card3", HOTPLUG="1")
        assert parse_uevent(message) == DisplayChange("/dev/dri/card3", gone)


def test_other_devices_are_not_ours() -> None:
    for values in (
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/renderD128"},
        {"SUBSYSTEM": "drm"},
        {"SUBSYSTEM": "net", "DEVNAME": "dri/card0"},
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/card"},
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/card0/../../sda"},
        {"SUBSYSTEM": "drm", "DEVNAME": "dri/card-1"},
    ):
        assert parse_uevent(uevent("change", **values)) is None


def test_udevs_own_messages_are_not_the_kernels() -> None:
    message = uevent("change", SUBSYSTEM="drm", DEVNAME="dri/card0")
    assert parse_uevent(b"libudev\0\xfe\xed\xca\xfe" + message.partition(b"\0")[2]) is None


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(message: bytes) -> None:
    parse_uevent(message)
    parse_uevent(uevent("change", SUBSYSTEM="drm") + b"DEVNAME=dri/card" + message)


async def test_the_socket_is_the_kernels() -> None:
    """Whether anything comes depends on the machine; that nothing is wrong does not."""
    with trio.move_on_after(0.2):
        async with display_changes() as changes:
            async for change in changes:
                assert change.path is None or change.path.startswith("/dev/dri/card")
