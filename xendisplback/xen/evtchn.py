# SPDX-License-Identifier: GPL-2.0-or-later
"""Event channels: libxenevtchn. Fulfils :class:`xendisplback.host.EventChannels`."""

from __future__ import annotations

import errno
import os

from xendisplback._ext import load_xen
from xendisplback.errors import HostError
from xendisplback.xen.devices import refusal, silent_logger

EVTCHN = "/dev/xen/evtchn"


class Evtchn:
    """One handle, restricted to ``domid``. Closing it closes every port bound with it."""

    def __init__(self, domid: int) -> None:
        """Raises HostError: no Xen, no permission."""
        self._xen = load_xen()
        if not os.access(EVTCHN, os.R_OK | os.W_OK):
            number = errno.EACCES if os.path.exists(EVTCHN) else errno.ENOENT
            raise refusal(EVTCHN, "open", number)
        self._domid = domid
        self._handle = self._xen.lib.xenevtchn_open(silent_logger(), 0)
        if not self._handle:
            raise refusal(EVTCHN, "xenevtchn_open", self._xen.ffi.errno)
        self.fd = self._xen.lib.xenevtchn_fd(self._handle)
        os.set_blocking(self.fd, False)
        if self._xen.lib.xenevtchn_restrict(self._handle, domid) != 0:
            number = self._xen.ffi.errno
            # Kernels before 4.18 lack the call; it is a second fence, not the first.
            if number not in (errno.ENOTTY, errno.EOPNOTSUPP):
                self.close()
                raise self._failure("xenevtchn_restrict", number)

    def bind(self, remote_port: int) -> int:
        port = self._xen.lib.xenevtchn_bind_interdomain(self._handle, self._domid, remote_port)
        if port < 0:
            raise self._failure(f"xenevtchn_bind_interdomain {remote_port}", self._xen.ffi.errno)
        return port

    @property
    def handle(self) -> int:
        return int(self._xen.ffi.cast("uintptr_t", self._handle))

    @property
    def pending_function(self) -> int:
        return self._address("xenevtchn_pending")

    @property
    def unmask_function(self) -> int:
        return self._address("xenevtchn_unmask")

    @property
    def notify_function(self) -> int:
        return self._address("xenevtchn_notify")

    def _address(self, function: str) -> int:
        ffi = self._xen.ffi
        return int(ffi.cast("uintptr_t", ffi.addressof(self._xen.lib, function)))

    def close(self) -> None:
        self._xen.lib.xenevtchn_close(self._handle)

    def _failure(self, call: str, number: int) -> HostError:
        return HostError(
            f"event channels of domain {self._domid}", call=call, path=EVTCHN, errno=number
        )
