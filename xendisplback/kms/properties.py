# SPDX-License-Identifier: GPL-2.0-or-later
"""The properties of KMS objects: ids by name, and the values as they were when read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xendisplback.errors import HostError
from xendisplback.kms.device import Device


@dataclass(frozen=True, slots=True)
class Property:
    id: int
    name: str
    immutable: bool
    enums: Mapping[int, str]
    """Names by value; for a bit mask, by bit number."""


@dataclass(frozen=True, slots=True)
class Properties:
    """Of one object."""

    by_name: Mapping[str, Property]
    values: Mapping[str, int]

    def enum(self, name: str) -> str | None:
        """The name of an enum property's value; None where the object lacks it."""
        if name not in self.by_name:
            return None
        return self.by_name[name].enums.get(self.values[name])


class PropertyTables:
    """The properties of every object of one device. A property's description is read once."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._properties: dict[int, Property] = {}
        self._objects: dict[int, Properties] = {}

    def read(self, object_id: int) -> Properties:
        """Ask the kernel for the object's properties and values. Raises HostError."""
        device = self._device
        with device.fetched(
            device.lib.drmModeObjectGetProperties(
                device.fd, object_id, device.lib.DRM_MODE_OBJECT_ANY
            ),
            device.lib.drmModeFreeObjectProperties,
            "drmModeObjectGetProperties",
        ) as found:
            ids = device.ffi.unpack(found.props, found.count_props)
            values = device.ffi.unpack(found.prop_values, found.count_props)
        return self.put(object_id, ids, values)

    def put(self, object_id: int, ids: Sequence[int], values: Sequence[int]) -> Properties:
        """What the kernel said otherwise (a connector's ioctl tells its properties too)."""
        described = [self._describe(property_id) for property_id in ids]
        result = self._objects[object_id] = Properties(
            by_name={each.name: each for each in described},
            values={each.name: value for each, value in zip(described, values, strict=True)},
        )
        return result

    def _describe(self, property_id: int) -> Property:
        known = self._properties.get(property_id)
        if known is None:
            known = self._properties[property_id] = self._fetch(property_id)
        return known

    def _fetch(self, property_id: int) -> Property:
        device = self._device
        with device.fetched(
            device.lib.drmModeGetProperty(device.fd, property_id),
            device.lib.drmModeFreeProperty,
            "drmModeGetProperty",
        ) as found:
            enums = [found.enums[i] for i in range(found.count_enums)]
            return Property(
                id=property_id,
                name=device.ffi.string(found.name).decode("ascii", "replace"),
                immutable=bool(found.flags & device.lib.DRM_MODE_PROP_IMMUTABLE),
                enums={
                    enum.value: device.ffi.string(enum.name).decode("ascii", "replace")
                    for enum in enums
                },
            )

    def id_of(self, object_id: int, name: str) -> int:
        """Raises HostError, naming the property that the driver does not have."""
        try:
            return self._objects[object_id].by_name[name].id
        except KeyError:
            raise HostError(
                f"driver {self._device.driver}: KMS object {object_id} has no property {name}",
                path=self._device.path,
            ) from None
