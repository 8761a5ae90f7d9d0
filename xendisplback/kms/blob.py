# SPDX-License-Identifier: GPL-2.0-or-later
"""Property blobs: MODE_ID's modes, and the EDID."""

from __future__ import annotations

from xendisplback.kms.device import Device


class Blob:
    """A blob of ours. Whatever property holds it keeps it alive after :meth:`close`."""

    def __init__(self, device: Device, data: bytes) -> None:
        """Raises HostError."""
        self._device = device
        blob_id = device.ffi.new("uint32_t *")
        device.check(
            device.lib.drmModeCreatePropertyBlob(device.fd, data, len(data), blob_id),
            "drmModeCreatePropertyBlob",
        )
        self.id = blob_id[0]
        self._open = True

    def close(self) -> None:
        """Idempotent; nothing to do on a device that is gone. Raises HostError."""
        if self._open:
            self._open = False
            device = self._device
            result = device.lib.drmModeDestroyPropertyBlob(device.fd, self.id)
            device.check_release(result, "drmModeDestroyPropertyBlob")


def read_blob(device: Device, blob_id: int) -> bytes:
    """The contents of the blob ``id``, whoever made it; b"" for 0 or one that is gone."""
    found = device.lib.drmModeGetPropertyBlob(device.fd, blob_id) if blob_id else None
    if not found:
        return b""
    try:
        return device.ffi.buffer(found.data, found.length)[:] if found.length else b""
    finally:
        device.lib.drmModeFreePropertyBlob(found)
