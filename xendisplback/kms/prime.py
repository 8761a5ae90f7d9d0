# SPDX-License-Identifier: GPL-2.0-or-later
"""PRIME import: a dma-buf as a GEM handle, for as long as it takes to make a framebuffer of it.

The kernel answers every import of one dma-buf with the same handle while there is one, and does not count them;
one GEM_CLOSE ends it for all. Hence one import at a time: they come from worker threads.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from xendisplback.kms.device import Device


class PrimeImports:
    """All imports of one device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._lock = threading.Lock()

    @contextmanager
    def handle(self, dmabuf: int) -> Generator[int]:
        """Import a dma-buf, whose file descriptor the caller may close. Raises HostError."""
        device = self._device
        handle = device.ffi.new("uint32_t *")
        with self._lock:
            device.check(
                device.lib.drmPrimeFDToHandle(device.fd, dmabuf, handle),
                "drmPrimeFDToHandle",
                f"{device.driver} can't import this memory",
            )
            try:
                yield handle[0]
            finally:
                result = device.lib.drmCloseBufferHandle(device.fd, handle[0])
                device.check_release(result, "drmCloseBufferHandle")
