# SPDX-License-Identifier: GPL-2.0-or-later
"""Framebuffers (ADDFB2): memory that planes can show. One plane of pixels, no modifiers."""

from __future__ import annotations

from collections.abc import Callable

from xendisplback.kms.device import Device
from xendisplback.kms.geometry import Geometry


class Framebuffer:
    """It needs no GEM handle once it is made: whatever process comes after us has only framebuffers to remove."""

    def __init__(
        self,
        device: Device,
        handle: int,
        geometry: Geometry,
        own_ids: set[int],
        unmap: Callable[[], None] | None = None,
    ) -> None:
        """``handle``: the caller's. ``unmap``: for :meth:`close`. Raises HostError.

        The id is added to ``own_ids``, by which :mod:`~xendisplback.kms.restore` knows ours from
        others'.
        """
        self._device = device
        self._unmap = unmap
        self.geometry = geometry
        new_id = device.ffi.new("uint32_t *")
        device.check(
            device.lib.drmModeAddFB2(
                device.fd,
                geometry.width,
                geometry.height,
                geometry.format,
                device.ffi.new("uint32_t[4]", [handle, 0, 0, 0]),
                device.ffi.new("uint32_t[4]", [geometry.pitch, 0, 0, 0]),
                device.ffi.new("uint32_t[4]", [geometry.offset, 0, 0, 0]),
                new_id,
                0,
            ),
            "drmModeAddFB2",
            f"{device.driver} refused a framebuffer {geometry}",
        )
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
        """RmFB, which blanks what shows it; then unmap. Idempotent. Blocking.

        Raises HostError, but not on a device that is gone.
        """
        if not self._open:
            return
        self._open = False
        device = self._device
        try:
            device.check_release(device.lib.drmModeRmFB(device.fd, self.id), "drmModeRmFB")
        finally:
            self._end()

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
            self._end()

    def _end(self) -> None:
        if self._unmap is not None:
            self._unmap()
