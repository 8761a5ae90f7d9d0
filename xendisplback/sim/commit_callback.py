# SPDX-License-Identifier: GPL-2.0-or-later
"""Commits that C code submits, from any thread, by calling a C function that ends up here."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Sequence

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

    def submit_with(self, others: Sequence[SimPreparedCommit]) -> int:
        """0, or a negative errno."""
        layout = dict(self._layout)
        for other in others:
            layout.update(other._layout)
        try:
            self._device.flip(layout, self._crtc_id)
        except Refused as refused:
            return -refused.errno
        return 0

    def close(self) -> None:
        """Whoever submits it later gets EBADF."""
        callbacks.forget(self.argument)


def _submit(arguments: int, count: int) -> int:
    found = [
        callbacks.find(argument, SimPreparedCommit)
        for argument in (ctypes.c_size_t * count).from_address(arguments)
    ]
    commits = [commit for commit in found if commit is not None]
    if len(commits) < count:
        return -errno.EBADF
    return commits[0].submit_with(commits[1:])


_callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_uint)(_submit)
