# SPDX-License-Identifier: GPL-2.0-or-later
"""Framebuffers (ADDFB2): memory that planes can show. One plane of pixels, no modifiers."""

from __future__ import annotations

from typing import Protocol

from xendisplback.kms.device import Device
from xendisplback.kms.geometry import Geometry


class Buffer(Protocol):
    """Memory as a GEM handle."""

    @property
    def handle(self) -> int: ...
    def close(self) -> None:
        """Idempotent."""
        ...


class Framebuffer:
    """Owns ``buffer``."""

    def __init__(
        self, device: Device, buffer: Buffer, geometry: Geometry, own_ids: set[int]
    ) -> None:
        """Raises HostError; ``buffer`` is closed then.

        The id is added to ``own_ids``, by which :mod:`~xendisplback.kms.restore` knows ours from
        others'.
        """
        self._device = device
        self._buffer = buffer
        self.geometry = geometry
        new_id = device.ffi.new("uint32_t *")
        try:
            device.check(
                device.lib.drmModeAddFB2(
                    device.fd,
                    geometry.width,
                    geometry.height,
                    geometry.format,
                    device.ffi.new("uint32_t[4]", [buffer.handle, 0, 0, 0]),
                    device.ffi.new("uint32_t[4]", [geometry.pitch, 0, 0, 0]),
                    device.ffi.new("uint32_t[4]", [geometry.offset, 0, 0, 0]),
                    new_id,
                    0,
                ),
                "drmModeAddFB2",
                f"{device.driver} refused a framebuffer {geometry}",
            )
        except BaseException:
            buffer.close()
            raise
        self.id = new_id[0]
        own_ids.add(self.id)
        self._open = True

    @property
    def width(self) -> int:
        return self.geometry.width

    @property
    def height(self) -> int:
        return self.geometry.height

    @property
    def format(self) -> int:
        return self.geometry.format

    def close(self) -> None:
        """RmFB, which blanks what shows it; then the buffer. Idempotent. Blocking.

        Raises HostError, but not on a device that is gone.
        """
        if not self._open:
            return
        self._open = False
        device = self._device
        try:
            device.check_release(device.lib.drmModeRmFB(device.fd, self.id), "drmModeRmFB")
        finally:
            self._buffer.close()

    def leave_on_screen(self) -> None:
        """Like :meth:`close`, but what shows it goes on until it shows something else (CLOSEFB).

        Raises HostError with nothing closed where libdrm (before 2.4.124, when this was built) or
        the kernel (before 6.8) is too old for it.
        """
        if self._open:
            device = self._device
            result = device.lib.xdb_close_fb(device.fd, self.id)
            device.check_release(result, "DRM_IOCTL_MODE_CLOSEFB")
            self._open = False
            self._buffer.close()
