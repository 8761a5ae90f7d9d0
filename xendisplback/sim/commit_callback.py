# SPDX-License-Identifier: GPL-2.0-or-later
"""Commits that C code submits, from any thread, by calling a C function that ends up here."""

from __future__ import annotations

import ctypes
import errno
import itertools
import threading

from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.kms_state import Layout, Refused


class SimPreparedCommit:
    """Fulfils :class:`xendisplback.host.PreparedCommit`."""

    def __init__(self, device: DisplayDevice, layout: Layout, crtc_id: int) -> None:
        self._device = device
        self._layout = layout
        self._crtc_id = crtc_id
        self.argument = next(_numbers)
        _prepared[self.argument] = self

    @property
    def function(self) -> int:
        address = ctypes.cast(_callback, ctypes.c_void_p).value
        assert address is not None
        return address

    def submit(self) -> int:
        """0, or a negative errno."""
        try:
            self._device.flip(self._layout, self._crtc_id)
        except Refused as refused:
            return -refused.errno
        return 0

    def close(self) -> None:
        """Whoever submits it later gets EBADF."""
        _prepared.pop(self.argument, None)


_prepared: dict[int, SimPreparedCommit] = {}
"""By the argument that C passes. Global like the C function itself, which must outlive every thread's call."""
_numbers = itertools.count(1)
_thread = threading.local()


def _submit(argument: int | None) -> int:
    if not hasattr(_thread, "known"):
        # Python would make its state of a C thread anew at each call, at three system calls; the ioctl that
        # this stands for makes one. Held once more, the state stays as long as the thread.
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.known = True
    commit = _prepared.get(argument or 0)
    return -errno.EBADF if commit is None else commit.submit()


_callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(_submit)
