# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's device files: what is missing or not permitted, in words an operator can act on."""

from __future__ import annotations

import errno
import os

from xendisplback.errors import HostError


def refusal(path: str, call: str, number: int) -> HostError:
    """The error for a library's failure ``number`` to open ``path``."""
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return HostError(
            f"no Xen here: {path} missing",
            call=call,
            path=path,
            errno=number,
            hint=f"in dom0 or a driver domain: modprobe xen-{os.path.basename(path)};"
            " `xendisplback demo` shows the daemon without Xen",
        )
    if number in (errno.EACCES, errno.EPERM):
        return HostError(
            f"no permission on {path}",
            call=call,
            path=path,
            errno=number,
            hint="run as root, or give the unit's user the file (udev rule, DeviceAllow=)",
        )
    return HostError(f"{path} can't be opened", call=call, path=path, errno=number)
