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


class Connector:
    """Stays the same object over probes; each probe replaces its state as a whole, so any thread may look."""

    def __init__(self, id: int, name: str, state: ConnectorState) -> None:
        self.id = id
        self.name = name
        self.state = state

    @property
    def status(self) -> Status:
        return self.state.status

    @property
    def connected(self) -> bool:
        """A monitor is there; or the hardware can't tell (VGA without DDC) and the driver offers modes."""
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

    def __repr__(self) -> str:
        return f"<Connector {self.name} {self.status}>"


def connector_name(type_name: str | None, type_id: int) -> str:
    """As the kernel makes it (drm_connector.c); ``Unknown-1`` for a type that libdrm does not know."""
    return f"{type_name or 'Unknown'}-{type_id}"


def read_connector(
    device: Device, tables: PropertyTables, id: int, encoder: Callable[[int], Encoder]
) -> tuple[str, ConnectorState]:
    """Probe: the kernel asks the monitor (DDC), which may take tens of milliseconds. Raises HostError."""
    ffi, lib = device.ffi, device.lib
    with device.fetched(
        lib.drmModeGetConnector(device.fd, id), lib.drmModeFreeConnector, "drmModeGetConnector"
    ) as found:
        type_name = lib.drmModeGetConnectorTypeName(found.connector_type)
        name = connector_name(
            ffi.string(type_name).decode("ascii") if type_name else None, found.connector_type_id
        )
        size = Mode.LAYOUT.size
        raw = ffi.buffer(found.modes, size * found.count_modes)[:] if found.count_modes else b""
        properties = tables.put(
            id,
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
    )
