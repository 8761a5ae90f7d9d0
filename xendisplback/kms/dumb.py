# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumb buffers: memory for a framebuffer that the CPU can write."""

from __future__ import annotations

import os

from xendisplback.kms.device import Device
from xendisplback.kms.framebuffer import Framebuffer
from xendisplback.kms.geometry import Geometry
from xendisplback.protocol.formats import FORMATS


class DumbBuffer:
    """Created, mapped and zeroed: a driver may not do that, and hold another guest's picture."""

    def __init__(self, device: Device, width: int, height: int, bits_per_pixel: int) -> None:
        """Raises HostError."""
        self._device = device
        ffi, lib = device.ffi, device.lib
        handle, pitch = ffi.new("uint32_t *"), ffi.new("uint32_t *")
        size = ffi.new("uint64_t *")
        device.check(
            lib.drmModeCreateDumbBuffer(
                device.fd, width, height, bits_per_pixel, 0, handle, pitch, size
            ),
            "drmModeCreateDumbBuffer",
            f"{device.driver} has no memory for {width}x{height} at {bits_per_pixel} bits",
        )
        self.handle, self.pitch, self.size = handle[0], pitch[0], size[0]
        self.address = 0
        try:
            self.address = self._map()
            device.check(lib.xdb_zero(self.address, self.size), "read", "dumb buffer not writable")
        except BaseException:
            self.close()
            raise

    def _map(self) -> int:
        device = self._device
        offset, address = device.ffi.new("uint64_t *"), device.ffi.new("uintptr_t *")
        device.check(
            device.lib.drmModeMapDumbBuffer(device.fd, self.handle, offset), "drmModeMapDumbBuffer"
        )
        device.check(device.lib.xdb_map(device.fd, self.size, offset[0], address), "mmap")
        return address[0]

    def keep_mapping(self) -> int:
        """The address; from here on it is the caller's to unmap."""
        address, self.address = self.address, 0
        return address

    def close(self) -> None:
        """Unmap, then destroy. Idempotent. Raises HostError, but not on a device that is gone."""
        device = self._device
        if self.address:
            device.lib.xdb_unmap(self.address, self.size)
            self.address = 0
        if self.handle:
            result = device.lib.drmModeDestroyDumbBuffer(device.fd, self.handle)
            self.handle = 0
            device.check_release(result, "drmModeDestroyDumbBuffer")


class DumbMemory:
    """A dumb buffer as a dma-buf. Fulfils :class:`xendisplback.host.CardMemory`."""

    def __init__(self, device: Device, width: int, height: int, bits_per_pixel: int) -> None:
        """Raises HostError."""
        self._device = device
        buffer = DumbBuffer(device, width, height, bits_per_pixel)
        self.pitch, self.size = buffer.pitch, buffer.size
        try:
            fd = device.ffi.new("int *")
            device.check(
                device.lib.drmPrimeHandleToFD(
                    device.fd, buffer.handle, device.lib.DRM_CLOEXEC | device.lib.DRM_RDWR, fd
                ),
                "drmPrimeHandleToFD",
                f"{device.driver} exports no dma-buf",
            )
            self.fd = fd[0]
            # The mapping and the dma-buf hold the memory. Without the handle an import gets one of its own,
            # which PrimeImports can count.
            self.address = buffer.keep_mapping()
        finally:
            buffer.close()

    def close(self) -> None:
        if self.fd >= 0:
            self._device.lib.xdb_unmap(self.address, self.size)
            os.close(self.fd)
            self.fd = -1


class DumbFramebuffer(Framebuffer):
    """``height`` rows of ``pitch`` bytes at ``address``, zeroed; unmapped by :meth:`close`."""

    def __init__(
        self, device: Device, width: int, height: int, fourcc: int, own_ids: set[int]
    ) -> None:
        """``fourcc`` is one of displif's formats. Raises HostError."""
        buffer = DumbBuffer(device, width, height, 8 * FORMATS[fourcc].bytes_per_pixel)
        geometry = Geometry(width, height, buffer.pitch, 0, fourcc)
        super().__init__(device, buffer, geometry, own_ids)
        self.address = buffer.address
        self.pitch = buffer.pitch
        self.size = buffer.size
