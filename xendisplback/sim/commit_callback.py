# SPDX-License-Identifier: GPL-2.0-or-later
"""Commits that C code submits, from any thread, by calling a C function that ends up here."""

from __future__ import annotations

import ctypes
import errno

from xendisplback.sim import callbacks
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.kms_state import Layout, Refused


class SimPreparedCommit:
    """Fulfils :class:`xendisplback.host.PreparedCommit`."""

    def __init__(self, device: DisplayDevice, layout: Layout, crtc_id: int) -> None:
        self._device = device
        self._layout = layout
        self._crtc_id = crtc_id
        self.argument = callbacks.register(self)

    @property
    def function(self) -> int:
        return callbacks.address(_callback)

    def submit(self) -> int:
        """0, or a negative errno."""
        try:
            self._device.flip(self._layout, self._crtc_id)
        except Refused as refused:
            return -refused.errno
        return 0

    def close(self) -> None:
        """Whoever submits it later gets EBADF."""
        callbacks.forget(self.argument)


def _submit(argument: int) -> int:
    commit = callbacks.find(argument, SimPreparedCommit)
    return -errno.EBADF if commit is None else commit.submit()


_callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t)(_submit)
