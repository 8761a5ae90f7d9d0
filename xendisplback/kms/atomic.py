# SPDX-License-Identifier: GPL-2.0-or-later
"""Atomic commits: properties of many objects, applied at once or not at all.

A request is laid out once as the arrays that the ioctl wants; submitting it is one C call, so the
GIL is given up once and not per property.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

from xendisplback.errors import GONE, HostError
from xendisplback.host import Crtc, KmsObject
from xendisplback.kms.device import Device
from xendisplback.kms.properties import PropertyTables

Layout = Mapping[int, Mapping[int, int]]
"""Values by property id by object id."""

_U64 = (1 << 64) - 1


class PreparedCommit:
    """Fulfils :class:`xendisplback.host.PreparedCommit`. Closed when no thread can submit it."""

    def __init__(self, device: Device, layout: Layout, flags: int) -> None:
        ffi = device.ffi
        self._device = device
        # cffi frees what nothing in Python refers to: the struct's own pointers don't count.
        self._objects = ffi.new("uint32_t[]", list(layout))
        self._counts = ffi.new("uint32_t[]", [len(values) for values in layout.values()])
        self._properties = ffi.new("uint32_t[]", [p for o in layout.values() for p in o])
        self._values = ffi.new(
            "uint64_t[]", [v & _U64 for o in layout.values() for v in o.values()]
        )
        self._commit = ffi.new("struct xdb_commit *")
        self._commit.fd = device.fd
        self._commit.flags = flags
        self._commit.count_objects = len(layout)
        self._commit.objects = self._objects
        self._commit.property_counts = self._counts
        self._commit.properties = self._properties
        self._commit.values = self._values

    @property
    def function(self) -> int:
        ffi = self._device.ffi
        return int(ffi.cast("uintptr_t", ffi.addressof(self._device.lib, "xdb_commit_submit")))

    @property
    def argument(self) -> int:
        return int(self._device.ffi.cast("uintptr_t", self._commit))

    def submit(self) -> int:
        """0, or a negative errno."""
        return self._device.lib.xdb_commit_submit(
            self._device.ffi.new("void *[]", [self._commit]), 1
        )

    def close(self) -> None:
        """A submission from now on fails with EBADF: it must not reach what reuses the fd."""
        self._commit.fd = -1


class AtomicReq:
    """Fulfils :class:`xendisplback.host.AtomicReq`."""

    def __init__(self, device: Device, tables: PropertyTables, used: set[int]) -> None:
        """``used`` collects the ids of the objects that commits may have changed."""
        self._device = device
        self._tables = tables
        self._used = used
        self._layout: dict[int, dict[int, int]] = {}

    def add(self, obj: KmsObject, properties: Mapping[str, int]) -> None:
        self.add_by_id(obj.id, properties)

    def add_by_id(self, object_id: int, properties: Mapping[str, int]) -> None:
        """Raises HostError for a property that the object lacks."""
        values = {self._tables.id_of(object_id, name): v for name, v in properties.items()}
        self._layout.setdefault(object_id, {}).update(values)

    def test(self, *, allow_modeset: bool = False) -> bool:
        """Raises HostError where the device is gone or we are not master any more."""
        result = self._submit(self._device.lib.DRM_MODE_ATOMIC_TEST_ONLY, allow_modeset)
        if -result in GONE or -result == errno.EACCES:
            raise self._error(result)
        return result == 0

    def commit(self, *, allow_modeset: bool = False) -> None:
        """Raises HostError with the driver's errno: EINVAL, ENOSPC, EBUSY..."""
        self._used.update(self._layout)
        result = self._submit(0, allow_modeset)
        if result != 0:
            raise self._error(result)

    def prepare_flip(self, crtc: Crtc) -> PreparedCommit:
        """Without a modeset. An event names every CRTC in the request, so ``crtc``'s pipe only."""
        self._used.update(self._layout)
        lib = self._device.lib
        flags = lib.DRM_MODE_ATOMIC_NONBLOCK | lib.DRM_MODE_PAGE_FLIP_EVENT
        return PreparedCommit(self._device, self._layout, flags)

    def _submit(self, flags: int, allow_modeset: bool) -> int:
        if allow_modeset:
            flags |= self._device.lib.DRM_MODE_ATOMIC_ALLOW_MODESET
        return PreparedCommit(self._device, self._layout, flags).submit()

    def _error(self, result: int) -> HostError:
        return self._device.failure(
            f"{self._device.driver} refused a commit", "DRM_IOCTL_MODE_ATOMIC", -result
        )
