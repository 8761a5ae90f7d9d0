# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumb buffers: memory for a framebuffer that the CPU can write."""

from __future__ import annotations

import os

from xendisplback.kms.device import Device
from xendisplback.kms.framebuffer import Framebuffer
from xendisplback.kms.geometry import Geometry
from xendisplback.protocol.formats import FORMATS

PAGE = 4096


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
        self.handle, self.pitch = handle[0], pitch[0]
        # The memory is whole pages, though some drivers name less: its end is mapped and zeroed too.
        self.size = -(-size[0] // PAGE) * PAGE
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

    def export(self) -> int:
        """A dma-buf's file descriptor, the caller's to close. Raises HostError."""
        device, lib = self._device, self._device.lib
        fd = device.ffi.new("int *")
        flags = lib.DRM_CLOEXEC | lib.DRM_RDWR
        device.check(
            lib.drmPrimeHandleToFD(device.fd, self.handle, flags, fd),
            "drmPrimeHandleToFD",
            f"{device.driver} exports no dma-buf",
        )
        return fd[0]

    def close(self) -> None:
        """Unmap, then destroy. Idempotent. Raises HostError, but not on a device that is gone."""
        if self.address:
            self._device.lib.xdb_unmap(self.address, self.size)
            self.address = 0
        self.destroy_handle()

    def destroy_handle(self) -> None:
        """The memory stays for who mapped or imported it. As :meth:`close`."""
        device = self._device
        handle, self.handle = self.handle, 0
        if handle:
            result = device.lib.drmModeDestroyDumbBuffer(device.fd, handle)
            device.check_release(result, "drmModeDestroyDumbBuffer")


class DumbMemory:
    """A dumb buffer as a dma-buf. Fulfils :class:`xendisplback.host.CardMemory`.

    It has no GEM handle: an import into the same device finds the buffer again (drm_gem_prime_import_dev()) and
    makes one. Were the first handle kept, the kernel would answer with that one, and two would believe it theirs.
    """

    def __init__(self, device: Device, width: int, height: int, bits_per_pixel: int) -> None:
        """Raises HostError."""
        self._device = device
        buffer = DumbBuffer(device, width, height, bits_per_pixel)
        self.address, self.pitch, self.size = buffer.address, buffer.pitch, buffer.size
        try:
            self.fd = buffer.export()
        except BaseException:
            buffer.close()
            raise
        try:
            buffer.destroy_handle()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Idempotent. Never fails."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._device.lib.xdb_unmap(self.address, self.size)
            os.close(fd)


class DumbFramebuffer(Framebuffer):
    """``height`` rows of ``pitch`` bytes at ``address``, zeroed; unmapped by :meth:`close`."""

    def __init__(
        self, device: Device, width: int, height: int, fourcc: int, own_ids: set[int]
    ) -> None:
        """``fourcc`` is one of displif's formats. Raises HostError."""
        buffer = DumbBuffer(device, width, height, 8 * FORMATS[fourcc].bytes_per_pixel)
        geometry = Geometry(width, height, buffer.pitch, 0, fourcc)
        try:
            super().__init__(device, buffer.handle, geometry, own_ids, buffer.close)
        except BaseException:
            buffer.close()
            raise
        buffer.destroy_handle()
        self.address = buffer.address
        self.pitch = buffer.pitch
        self.size = buffer.size
