# SPDX-License-Identifier: GPL-2.0-or-later
"""An open DRM device file: DRM master, capabilities, and libdrm's failures as HostError.

libdrm repeats interrupted calls. Its functions return 0, -1 with errno, or a negative errno; those
that make something return NULL with errno.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from xendisplback._ext import load_drm
from xendisplback.errors import GONE, HostError
from xendisplback.host import LEASE
from xendisplback.kms.master import master_holder

if TYPE_CHECKING:
    from xendisplback._ext._drm import FFI, Lib

T = TypeVar("T")

_PERMISSION_HINT = (
    "run as root or in group video; in a systemd unit SupplementaryGroups=video"
    " and DeviceAllow=char-drm rw"
)


class Device:
    """Owns ``fd``, whose reads block: a thread in C waits for events in one."""

    def __init__(self, path: str, fd: int | None = None) -> None:
        """``fd``: the device, opened already; owned, also when this fails.

        Raises HostError where ``path`` can't be opened or is no DRM device.
        """
        drm = load_drm()
        self.lib: Lib = drm.lib
        self.ffi: FFI = drm.ffi
        self.path = path
        self.leased = path.startswith(LEASE)
        self.fd = _open(path) if fd is None else fd
        try:
            self.driver = self._driver_name()
        except BaseException:
            self.close()
            raise

    def _driver_name(self) -> str:
        version = self.lib.drmGetVersion(self.fd)
        if not version:
            raise self.failure("not a DRM device", "drmGetVersion", self.ffi.errno)
        name = self.ffi.string(version.name).decode("ascii", "replace")
        self.lib.drmFreeVersion(version)
        return name

    # Failures

    def failure(
        self, message: str, call: str, number: int | None, hint: str | None = None
    ) -> HostError:
        if self.leased and number == errno.ENOENT:
            # Objects that are not leased any more do not exist for us.
            return HostError("the lease was revoked", call=call, path=self.path, errno=errno.ENODEV)
        if number in {errno.ENODEV, errno.ENXIO}:
            message, hint = "the display device is gone", None
        elif number == errno.EACCES and hint is None:
            hint = self.master_hint()
        return HostError(message, call=call, path=self.path, errno=number, hint=hint)

    def check(self, result: int, call: str, message: str | None = None) -> None:
        """Raises HostError unless ``result`` is 0."""
        if result != 0:
            raise self.failure(message or f"{self.driver} refused", call, self._errno(result))

    def check_release(self, result: int, call: str) -> None:
        """Like :meth:`check`, but a device that is gone or closed has nothing left to release."""
        if result != 0 and self.fd >= 0 and self._errno(result) not in GONE:
            self.check(result, call)

    def _errno(self, result: int) -> int:
        return -result if result < -1 else self.ffi.errno

    @contextmanager
    def fetched(self, pointer: T, free: Callable[[T], None], call: str) -> Generator[T, None, None]:
        """What libdrm allocated, freed at the end. Raises HostError for NULL."""
        if not pointer:
            raise self.failure(f"{self.driver} refused", call, self.ffi.errno)
        try:
            yield pointer
        finally:
            free(pointer)

    # Master, capabilities

    def become_master(self) -> None:
        """Raises HostError, naming who is master where debugfs tells."""
        if not self._set_master():
            raise self.failure("not DRM master", "drmSetMaster", self.ffi.errno, self.master_hint())

    def try_master(self) -> bool:
        """Raises HostError where the device is gone."""
        if self._set_master():
            return True
        if self.ffi.errno in GONE:
            raise self.failure("not DRM master", "drmSetMaster", self.ffi.errno)
        return False

    def _set_master(self) -> bool:
        # Whoever has the file from an earlier process and is not root may stay master, and not become it again.
        # Only to a master the kernel says what is wrong with magic 0, which nobody has.
        still = self.lib.drmAuthMagic(self.fd, 0) == -errno.EINVAL
        return still or self.lib.drmSetMaster(self.fd) == 0

    def master_hint(self) -> str:
        holder = master_holder(self.path)
        who = f"{holder} is master" if holder else "another program is master"
        return f"{who}; stop the compositor, X server or second backend that uses this device"

    def drop_master(self) -> None:
        """Never fails: closing ``fd`` does it as well."""
        self.lib.drmDropMaster(self.fd)

    def capability(self, capability: int) -> int:
        """0 where the kernel or the driver does not know it."""
        value = self.ffi.new("uint64_t *")
        return value[0] if self.lib.drmGetCap(self.fd, capability, value) == 0 else 0

    def close(self) -> None:
        """Idempotent."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno
    message, hint = "display device can't be opened", None
    if number in {errno.EACCES, errno.EPERM}:
        message, hint = f"no permission on {path}", _PERMISSION_HINT
    elif number in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        message = f"no display device {path}"
        hint = "is the display driver loaded? ls /dev/dri shows the devices there are"
    raise HostError(message, call="open", path=path, errno=number, hint=hint)
