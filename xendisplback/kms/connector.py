# SPDX-License-Identifier: GPL-2.0-or-later
"""Connectors: the sockets, and what is plugged into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from xendisplback.kms.blob import read_blob
from xendisplback.kms.device import Device
from xendisplback.kms.encoder import Encoder
from xendisplback.kms.mode import Mode
from xendisplback.kms.properties import PropertyTables

Status = Literal["connected", "disconnected", "unknown"]


@dataclass(frozen=True, slots=True)
class ConnectorState:
    """What one probe found."""

    status: Status
    modes: tuple[Mode, ...]
    edid: bytes
    possible_crtcs: int
    crtc_id: int


class Connector:
    """The same object over probes; each replaces the state as a whole, so any thread may look."""

    def __init__(self, connector_id: int, name: str, state: ConnectorState) -> None:
        self.id = connector_id
        self.name = name
        self.state = state

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def connected(self) -> bool:
        """A monitor is there; or the hardware can't tell (VGA without DDC) but there are modes."""
        return self.status == "connected" or (self.status == "unknown" and bool(self.modes))

    @property
    def modes(self) -> Sequence[Mode]:
        return self.state.modes

    @property
    def edid(self) -> bytes:
        return self.state.edid

    @property
    def possible_crtcs(self) -> int:
        return self.state.possible_crtcs

    @property
    def crtc_id(self) -> int:
        return self.state.crtc_id

    def __repr__(self) -> str:
        return f"<Connector {self.name} {self.status}>"


def connector_name(type_name: str | None, type_id: int) -> str:
    """As the kernel makes it (drm_connector.c); ``Unknown-1`` for a type unknown to libdrm."""
    return f"{type_name or 'Unknown'}-{type_id}"


def read_connector(
    device: Device, tables: PropertyTables, connector_id: int, encoder: Callable[[int], Encoder]
) -> tuple[str, ConnectorState]:
    """Probe: the kernel asks the monitor (DDC), for tens of milliseconds. Raises HostError."""
    ffi, lib = device.ffi, device.lib
    with device.fetched(
        lib.drmModeGetConnector(device.fd, connector_id),
        lib.drmModeFreeConnector,
        "drmModeGetConnector",
    ) as found:
        type_name = lib.drmModeGetConnectorTypeName(found.connector_type)
        name = connector_name(
            ffi.string(type_name).decode("ascii") if type_name else None, found.connector_type_id
        )
        size = Mode.LAYOUT.size
        raw = ffi.buffer(found.modes, size * found.count_modes)[:] if found.count_modes else b""
        properties = tables.put(
            connector_id,
            ffi.unpack(found.props, found.count_props),
            ffi.unpack(found.prop_values, found.count_props),
        )
        encoders = ffi.unpack(found.encoders, found.count_encoders) if found.count_encoders else []
        status: Status = "unknown"
        if found.connection == lib.DRM_MODE_CONNECTED:
            status = "connected"
        elif found.connection == lib.DRM_MODE_DISCONNECTED:
            status = "disconnected"
    possible_crtcs = 0
    for encoder_id in encoders:
        possible_crtcs |= encoder(encoder_id).possible_crtcs
    return name, ConnectorState(
        status=status,
        modes=tuple(Mode.unpack(raw[i : i + size]) for i in range(0, len(raw), size)),
        edid=read_blob(device, properties.values.get("EDID", 0)),
        possible_crtcs=possible_crtcs,
        crtc_id=properties.values.get("CRTC_ID", 0),
    )
