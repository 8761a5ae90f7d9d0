# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen's device files and libraries: what is missing or not permitted, in words an operator can act on."""

from __future__ import annotations

import errno
import functools
import os
from typing import TYPE_CHECKING

from xendisplback._ext import load_xen
from xendisplback.errors import HostError

if TYPE_CHECKING:
    from xendisplback._ext._xen import Logger


@functools.cache
def silent_logger() -> Logger:
    """For the libraries, which otherwise write failed calls to stderr; a guest can make calls fail at will."""
    return load_xen().lib.xdb_silent_logger()


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
