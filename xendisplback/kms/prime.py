# SPDX-License-Identifier: GPL-2.0-or-later
"""PRIME import: a dma-buf as a GEM handle.

The kernel answers every import of one dma-buf with the same handle and does not count them; one
GEM_CLOSE ends it for all. So they are counted here, under a lock: imports and closes come from
worker threads.
"""

from __future__ import annotations

import threading

from xendisplback.kms.device import Device


class ImportedBuffer:
    def __init__(self, imports: PrimeImports, handle: int) -> None:
        self._imports = imports
        self.handle = handle

    def close(self) -> None:
        """Idempotent. Raises HostError."""
        handle, self.handle = self.handle, 0
        if handle:
            self._imports.release(handle)


class PrimeImports:
    """All imports of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._users: dict[int, int] = {}

    def take(self, dmabuf: int) -> ImportedBuffer:
        """Import a dma-buf, whose file descriptor the caller may close. Raises HostError."""
        device = self._device
        handle = device.ffi.new("uint32_t *")
        with self._lock:
            device.check(
                device.lib.drmPrimeFDToHandle(device.fd, dmabuf, handle),
                "drmPrimeFDToHandle",
                f"{device.driver} can't import this memory",
            )
            self._users[handle[0]] = self._users.get(handle[0], 0) + 1
        return ImportedBuffer(self, handle[0])

    def release(self, handle: int) -> None:
        device = self._device
        with self._lock:
            self._users[handle] -= 1
            if self._users[handle]:
                return
            del self._users[handle]
            result = device.lib.drmCloseBufferHandle(device.fd, handle)
            device.check_release(result, "drmCloseBufferHandle")
