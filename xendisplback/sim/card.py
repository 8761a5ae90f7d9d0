# SPDX-License-Identifier: GPL-2.0-or-later
"""An open simulated device. Fulfils :class:`xendisplback.host.Card`."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping, Sequence

from xendisplback.errors import HostError
from xendisplback.host import Crtc, KmsObject
from xendisplback.kms.geometry import Geometry
from xendisplback.kms.mode import Mode
from xendisplback.protocol.formats import FORMATS
from xendisplback.sim.commit_callback import SimPreparedCommit
from xendisplback.sim.controller import MemoryNeeds
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.dmabuf import DmaBufs
from xendisplback.sim.framebuffers import (
    DumbMemory,
    SimCardMemory,
    SimDumbFramebuffer,
    SimImportedFramebuffer,
    pages_of,
)
from xendisplback.sim.kms_objects import (
    CONNECTOR_PROPERTIES,
    CRTC_PROPERTIES,
    PLANE_PROPERTIES,
    SimBlob,
    SimConnector,
    SimCrtc,
    SimPlane,
)
from xendisplback.sim.kms_state import Refused
from xendisplback.sim.mapping import PageMapping, check_descriptors


class SimCard:
    """One at a time on a device. Raises HostError where it can't be had."""

    def __init__(
        self,
        device: DisplayDevice,
        dmabufs: DmaBufs | None = None,
        *,
        take_over: bool = False,
    ) -> None:
        """``dmabufs``: the machine's; without it the card knows only its own.

        ``take_over``: in the place of a killed daemon's.
        """
        time.sleep(device.open_seconds)
        self._device = device
        self._dmabufs = DmaBufs() if dmabufs is None else dmabufs
        check_descriptors(2, "open")
        # A pipe is as atomic for 32 bytes as the kernel's queue of events.
        self._read_fd, self._write_fd = os.pipe2(os.O_CLOEXEC)
        try:
            if not device.dumb:
                raise HostError("card without dumb buffers", call="drmGetCap", path=device.path)
            self._left = device.take(self._send_event, over=take_over)
        except Refused as refused:
            self._close_fds()
            raise self._error("drmSetMaster", refused) from refused
        except HostError:
            self._close_fds()
            raise
        self.probe()
        lit = [c.id for c in self.connectors if c.crtc_id] if take_over else []
        self.lit_before = frozenset(lit)

    @property
    def path(self) -> str:
        return self._device.path

    @property
    def driver(self) -> str:
        return self._device.driver

    @property
    def fd(self) -> int:
        return self._read_fd

    @property
    def connectors(self) -> Sequence[SimConnector]:
        return list(self._device.objects.connectors.values())

    @property
    def crtcs(self) -> Sequence[SimCrtc]:
        return list(self._device.objects.crtcs.values())

    @property
    def planes(self) -> Sequence[SimPlane]:
        return list(self._device.objects.planes.values())

    def probe(self) -> None:
        try:
            self._device.probe()
        except Refused as refused:
            raise self._error("drmModeGetResources", refused) from refused

    def take_master(self) -> bool:
        try:
            return self._device.take_master()
        except Refused as refused:
            raise self._error("drmSetMaster", refused) from refused

    @property
    def can_import(self) -> bool:
        return self._device.controller.can_import

    @property
    def scans_first_address(self) -> bool:
        return self._device.controller.needs is MemoryNeeds.FIRST_ADDRESS

    def matches(self, selector: str) -> bool:
        return self._device.matches(selector)

    def dumb_framebuffer(self, width: int, height: int, fourcc: int) -> SimDumbFramebuffer:
        device = self._device
        memory = self._allocate(width, height, 8 * FORMATS[fourcc].bytes_per_pixel)
        geometry = Geometry(width, height, memory.pitch, 0, fourcc)
        self._count_call("addfb", "drmModeAddFB2")
        framebuffer = SimDumbFramebuffer(
            device.new_id(), geometry, memory, device.remove_framebuffer
        )
        device.add_framebuffer(framebuffer)
        return framebuffer

    def import_framebuffer(self, dmabuf: int, geometry: Geometry) -> SimImportedFramebuffer:
        device, controller = self._device, self._device.controller
        call = "drmPrimeFDToHandle"
        try:
            device.count_call("imports")
            buffer = self._dmabufs.find(dmabuf)
            if buffer is None:
                raise Refused(errno.EINVAL, "no dma-buf")
            seen = controller.admit(buffer.pages)
            call = "drmModeAddFB2"
            device.count_call("addfb")
            if not device.has_format(geometry.format):
                raise Refused(errno.EINVAL, "a format that no plane has")
            controller.check_geometry(geometry, buffer.size)
        except Refused as refused:
            raise self._error(call, refused) from refused
        buffer.get()
        mapping = PageMapping(buffer.pages.file, seen, writable=False)
        framebuffer = SimImportedFramebuffer(
            device.new_id(), geometry, buffer, mapping, device.remove_framebuffer
        )
        device.add_framebuffer(framebuffer)
        return framebuffer

    def dumb_memory(self, width: int, height: int, bits_per_pixel: int) -> SimCardMemory:
        memory = self._allocate(width, height, bits_per_pixel)
        card_memory = SimCardMemory(memory, self._dmabufs.create(pages_of(memory), memory.free))
        self._dmabufs.process.opened(card_memory.close)
        return card_memory

    def _allocate(self, width: int, height: int, bits_per_pixel: int) -> DumbMemory:
        self._count_call("dumb", "drmModeCreateDumbBuffer")
        check_descriptors(2, "drmModeCreateDumbBuffer")
        align = self._device.controller.dumb_pitch_align
        return DumbMemory(width, height, bits_per_pixel, align)

    def _count_call(self, name: str, call: str) -> None:
        """Raises HostError where the device is gone."""
        try:
            self._device.count_call(name)
        except Refused as refused:
            raise self._error(call, refused) from refused

    def mode_blob(self, mode: Mode) -> SimBlob:
        device = self._device
        id = device.new_id()
        with device.lock:
            device.objects.modes[id] = mode
        # The kernel keeps a blob that is in use; here each lives as long as the device.
        return SimBlob(id, lambda id: None)

    def atomic(self) -> SimAtomicReq:
        return SimAtomicReq(self._device)

    def _send_event(self, event: bytes) -> None:
        os.write(self._write_fd, event)

    def _error(self, call: str, refused: Refused) -> HostError:
        return HostError(str(refused), call=call, path=self.path, errno=refused.errno)

    def _close_fds(self) -> None:
        os.close(self._read_fd)
        if self._write_fd >= 0:
            os.close(self._write_fd)
        self._read_fd = self._write_fd = -1

    @property
    def before(self) -> bytes:
        """Nothing is put back on a simulated screen."""
        return b"dark"

    def remove_left(self) -> None:
        left, self._left = self._left, ()
        for framebuffer in left:
            framebuffer.close()

    def close(self) -> None:
        if self._read_fd >= 0:
            self._device.give_back()
            self._close_fds()


class SimAtomicReq:
    """Fulfils :class:`xendisplback.host.AtomicReq`."""

    def __init__(self, device: DisplayDevice) -> None:
        self._device = device
        self._layout: dict[int, dict[str, int]] = {}

    def add(self, obj: KmsObject, properties: Mapping[str, int]) -> None:
        objects = self._device.objects
        known = PLANE_PROPERTIES
        if obj.id in objects.connectors:
            known = CONNECTOR_PROPERTIES
        elif obj.id in objects.crtcs:
            known = CRTC_PROPERTIES
        for name in properties:
            if name not in known:
                raise HostError(f"object {obj.id} has no property {name}", path=self._device.path)
        self._layout.setdefault(obj.id, {}).update(properties)

    def test(self, *, allow_modeset: bool = False) -> bool:
        with self._device.lock:
            try:
                self._device.test(self._layout, allow_modeset=allow_modeset)
            except Refused:
                return False
            return True

    def commit(self, *, allow_modeset: bool = False) -> None:
        try:
            self._device.commit(self._layout, allow_modeset=allow_modeset)
        except Refused as refused:
            raise HostError(
                f"commit refused: {refused}",
                call="DRM_IOCTL_MODE_ATOMIC",
                path=self._device.path,
                errno=refused.errno,
            ) from refused

    def prepare_flip(self, crtc: Crtc) -> SimPreparedCommit:
        layout = {id: dict(values) for id, values in self._layout.items()}
        return SimPreparedCommit(self._device, layout, crtc.id)
