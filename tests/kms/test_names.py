# SPDX-License-Identifier: GPL-2.0-or-later
"""Connector names, which guests' configurations hold, and what connects them to monitors."""

from __future__ import annotations

import pytest

from xendisplback._ext import load_drm
from xendisplback.kms.connector import Connector, ConnectorState, Status, connector_name
from xendisplback.kms.mode import Mode

KERNEL_NAMES = [
    *("Unknown", "VGA", "DVI-I", "DVI-D", "DVI-A", "Composite", "SVIDEO"),
    *("LVDS", "Component", "DIN", "DP", "HDMI-A", "HDMI-B", "TV"),
    *("eDP", "Virtual", "DSI", "DPI", "Writeback", "SPI", "USB"),
]
"""drm_connector_enum_list in linux/drivers/gpu/drm/drm_connector.c, by DRM_MODE_CONNECTOR_*."""


@pytest.mark.parametrize(("number", "kernel_name"), list(enumerate(KERNEL_NAMES)))
def test_libdrm_names_types_as_the_kernel_does(number: int, kernel_name: str) -> None:
    drm = load_drm()
    name = drm.ffi.string(drm.lib.drmModeGetConnectorTypeName(number)).decode()
    assert connector_name(name, 1) == f"{kernel_name}-1"


def test_a_type_of_the_future_is_unknown() -> None:
    assert not load_drm().lib.drmModeGetConnectorTypeName(4711)
    assert connector_name(None, 3) == "Unknown-3"


@pytest.mark.parametrize(
    ("status", "modes", "connected"),
    [
        ("connected", 0, True),
        ("connected", 1, True),
        ("disconnected", 1, False),
        ("unknown", 0, False),
        ("unknown", 1, True),
    ],
)
def test_unknown_status_counts_as_connected_with_modes(
    status: Status, modes: int, connected: bool
) -> None:
    mode = Mode(*(0,) * 14, name="any")
    state = ConnectorState(status, (mode,) * modes, b"", 1, 0)
    assert Connector(30, "VGA-1", state).connected is connected
