# SPDX-License-Identifier: GPL-2.0-or-later
"""A KMS device of which we are master. Fulfils :class:`xendisplback.host.Card`.

Objects may be used from any thread, one thread at a time for each method that says it blocks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from xendisplback.errors import GONE, HostError
from xendisplback.host import LEASE
from xendisplback.kms.atomic import AtomicReq
from xendisplback.kms.blob import Blob
from xendisplback.kms.connector import Connector, read_connector
from xendisplback.kms.crtc import Crtc
from xendisplback.kms.device import Device
from xendisplback.kms.dumb import DumbFramebuffer, DumbMemory
from xendisplback.kms.encoder import Encoder, read_encoder
from xendisplback.kms.framebuffer import Framebuffer
from xendisplback.kms.geometry import Geometry
from xendisplback.kms.mode import Mode
from xendisplback.kms.plane import read_crtc_id, read_plane
from xendisplback.kms.prime import PrimeImports
from xendisplback.kms.properties import PropertyTables
from xendisplback.kms.quirks import scans_first_address
from xendisplback.kms.restore import Kind, SavedScreen, Screen, read_screen
from xendisplback.kms.selector import parse_selector


class NoKms(HostError):
    """A DRM device without displays: one that only renders."""


class Card:
    def __init__(self, path: str, fd: int | None = None, before: bytes | None = None) -> None:
        """Open, become master, probe. Blocking (DDC).

        ``fd``: see :class:`Device`. ``before``: of the card of an earlier process that had ``fd``; what that one
        shows stays on screen until it is replaced, or :meth:`remove_left`.

        Raises NoKms, and HostError: no permission, not master, no atomic mode setting, no dumb
        buffers.
        """
        self._device = Device(path, fd)
        try:
            self._set_up(before)
        except BaseException:
            self._device.close()
            raise

    @classmethod
    def lease(cls, fd: int, name: str) -> Card:
        """What a DRM lease holds; owns ``fd``, also when it fails. Blocking. Raises HostError."""
        return cls(LEASE + name, fd)

    def _set_up(self, before: bytes | None) -> None:
        device = self._device
        self._tables = PropertyTables(device)
        self._imports = PrimeImports(device)
        self._encoders: dict[int, Encoder] = {}
        self._connectors: dict[int, Connector] = {}
        self._used: set[int] = set()
        self._own_framebuffers: set[int] = set()
        crtc_ids, _, framebuffer_ids = self._resources()
        if not crtc_ids:
            raise NoKms(
                f"no KMS: {device.driver} has no displays", path=device.path, hint="it only renders"
            )
        device.become_master()
        self._require_capabilities()
        self.crtcs: Sequence[Crtc] = [
            Crtc(object_id, index) for index, object_id in enumerate(crtc_ids)
        ]
        self.planes = [
            read_plane(device, self._tables, object_id) for object_id in self._plane_ids()
        ]
        self.probe()
        kinds: dict[int, Kind] = {}
        kinds.update({crtc.id: "crtc" for crtc in self.crtcs})
        kinds.update({plane.id: "plane" for plane in self.planes})
        kinds.update(dict.fromkeys(self._connectors, "connector"))
        now = read_screen(device, self._tables, kinds)
        self._left: Sequence[int] = ()
        if before is not None:
            # Of this file: nobody else's.
            self._left = framebuffer_ids
            self._own_framebuffers.update(framebuffer_ids)
            self._used.update(now.showing(framebuffer_ids))
        self.lit_before = frozenset(self._used & set(self._connectors))
        screen = now if before is None else Screen.unpack(before)
        self._before = SavedScreen(device, self._tables, screen)

    def _require_capabilities(self) -> None:
        device, lib = self._device, self._device.lib
        device.check(
            lib.drmSetClientCap(device.fd, lib.DRM_CLIENT_CAP_UNIVERSAL_PLANES, 1),
            "drmSetClientCap",
        )
        if lib.drmSetClientCap(device.fd, lib.DRM_CLIENT_CAP_ATOMIC, 1) != 0:
            raise device.failure(
                f"no atomic: {device.driver} has no atomic mode setting",
                "drmSetClientCap",
                device.ffi.errno,
                "nouveau has it switched off: nouveau.atomic=1; otherwise use another card",
            )
        if not device.capability(lib.DRM_CAP_DUMB_BUFFER):
            raise HostError(
                f"card without dumb buffers: {device.driver} offers no memory to copy pictures to",
                call="drmGetCap",
                path=device.path,
                hint="use another card",
            )

    def _resources(self) -> tuple[list[int], list[int], list[int]]:
        """Ids of CRTCs, connectors and this file's framebuffers. Raises NoKms without mode setting."""
        device = self._device
        found = device.lib.drmModeGetResources(device.fd)
        if not found:
            number = device.ffi.errno
            message = f"no KMS: {device.driver} has no displays"
            error = device.failure(message, "drmModeGetResources", number)
            raise NoKms(error.message, call=error.call, path=error.path, errno=number)
        unpack = device.ffi.unpack
        try:
            return (
                unpack(found.crtcs, found.count_crtcs) if found.count_crtcs else [],
                unpack(found.connectors, found.count_connectors) if found.count_connectors else [],
                unpack(found.fbs, found.count_fbs) if found.count_fbs else [],
            )
        finally:
            device.lib.drmModeFreeResources(found)

    def _plane_ids(self) -> list[int]:
        device = self._device
        with device.fetched(
            device.lib.drmModeGetPlaneResources(device.fd),
            device.lib.drmModeFreePlaneResources,
            "drmModeGetPlaneResources",
        ) as found:
            return device.ffi.unpack(found.planes, found.count_planes)

    # What the card is and has

    @property
    def path(self) -> str:
        return self._device.path

    @property
    def driver(self) -> str:
        return self._device.driver

    @property
    def fd(self) -> int:
        return self._device.fd

    @property
    def connectors(self) -> Sequence[Connector]:
        return list(self._connectors.values())

    @property
    def encoders(self) -> Sequence[Encoder]:
        return list(self._encoders.values())

    @property
    def can_import(self) -> bool:
        """Whether the driver takes dma-bufs at all (PRIME)."""
        lib = self._device.lib
        return bool(self._device.capability(lib.DRM_CAP_PRIME) & lib.DRM_PRIME_CAP_IMPORT)

    @property
    def scans_first_address(self) -> bool:
        return scans_first_address(self.driver, self._device.fd)

    def take_master(self) -> bool:
        return self._device.try_master()

    def matches(self, selector: str) -> bool:
        """Raises HostError where it is no selector."""
        kind, name = parse_selector(selector)
        if kind == "driver":
            return name == self.driver
        if kind == "connector":
            return name in [connector.name for connector in self.connectors]
        return os.path.realpath(name) == os.path.realpath(self.path)

    def probe(self) -> None:
        """Connectors that stay are the same objects as before; MST connectors come and go."""
        crtcs, ids, _ = self._resources()
        if not crtcs:
            raise self._device.failure("no CRTC", "drmModeGetResources", errno.ENODEV)
        connectors: dict[int, Connector] = {}
        for object_id in ids:
            name, state = read_connector(self._device, self._tables, object_id, self._encoder)
            connector = self._connectors.get(object_id)
            if connector is None:
                connector = Connector(object_id, name, state)
            else:
                connector.state = state
            connectors[object_id] = connector
        self._connectors = connectors
        for plane in self.planes:
            plane.crtc_id = read_crtc_id(self._device, plane.id)

    def _encoder(self, object_id: int) -> Encoder:
        encoder = self._encoders.get(object_id)
        if encoder is None:
            encoder = self._encoders[object_id] = read_encoder(self._device, object_id)
        return encoder

    # What an earlier process left

    @property
    def before(self) -> bytes:
        return self._before.pack()

    def remove_left(self) -> None:
        left, self._left = self._left, ()
        for framebuffer in left:
            result = self._device.lib.drmModeRmFB(self._device.fd, framebuffer)
            self._device.check_release(result, "drmModeRmFB")

    # What it can be given

    def dumb_framebuffer(self, width: int, height: int, fourcc: int) -> DumbFramebuffer:
        return DumbFramebuffer(self._device, width, height, fourcc, self._own_framebuffers)

    def dumb_memory(self, width: int, height: int, bits_per_pixel: int) -> DumbMemory:
        return DumbMemory(self._device, width, height, bits_per_pixel)

    def import_framebuffer(self, dmabuf: int, geometry: Geometry) -> Framebuffer:
        """A framebuffer in a dma-buf, whose file descriptor the caller may close. Blocking."""
        with self._imports.handle(dmabuf) as handle:
            return Framebuffer(self._device, handle, geometry, self._own_framebuffers)

    def mode_blob(self, mode: Mode) -> Blob:
        return Blob(self._device, mode.pack())

    def atomic(self) -> AtomicReq:
        return AtomicReq(self._device, self._tables, self._used)

    def close(self) -> None:
        """What was on screen comes back; then master, then the file. Idempotent.

        Framebuffers, blobs and commits are to be closed before: the kernel frees what is left.
        """
        if self._device.fd < 0:
            return
        try:
            if self._device.try_master():
                self._before.restore(self._used, self._own_framebuffers)
        except HostError as error:
            if error.errno not in GONE:
                raise
        finally:
            self._device.drop_master()
            self._device.close()
