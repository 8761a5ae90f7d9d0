# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in dom0: another program that uses a card, as a desktop, logind or a lease's giver does.

    desktop.py show CARD CONNECTOR #RRGGBB [PID]
        is the card's master and lights CONNECTOR; drops the master of PID's own open file first, as logind does
    desktop.py lease CARD CONNECTOR OTHER #RRGGBB
        gives a lease of CONNECTOR to "xendisplback lease", and lights OTHER itself

CARD is a node in /dev/dri. ``show`` and ``lease`` write "ready" and stay until SIGTERM; ``lease`` revokes
the lease at SIGUSR1 and stays. Raw ioctls of <drm/drm.h> and <drm/drm_mode.h>: dom0 has no libdrm for Python.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import signal
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SYS_PIDFD_GETFD = 438
CLIENT_CAP_UNIVERSAL_PLANES = 2
CONNECTOR_TYPES = {11: "HDMI-A", 15: "Virtual"}
CONNECTED = 1


def io(number: int, size: int = 0, direction: int = 3) -> int:
    """_IOWR('d', number, size); direction 1 is _IOW, 0 _IO."""
    return direction << 30 | size << 16 | ord("d") << 8 | number


def call(fd: int, number: int, layout: str, *values: int | bytes) -> tuple[int, ...]:
    """One _IOWR of a structure in struct's notation; its fields afterwards."""
    data = bytearray(struct.pack(layout, *values))
    fcntl.ioctl(fd, io(number, len(data)), data)
    return struct.unpack(layout, data)


def ids(*values: int) -> array[int]:
    """Room for 64 numbers of 32 bits, filled up with 0."""
    return array("I", [*values, *[0] * (64 - len(values))])


def address(numbers: array[int]) -> int:
    return numbers.buffer_info()[0]


@dataclass(frozen=True, slots=True)
class Connector:
    """What lights it; ``mode`` is the preferred one's struct drm_mode_modeinfo."""

    connector: int
    crtc: int
    planes: list[int]
    mode: bytes


class Card:
    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(self.fd, io(0x0D, 16, 1), struct.pack("QQ", CLIENT_CAP_UNIVERSAL_PLANES, 1))

    def become_master(self) -> None:
        fcntl.ioctl(self.fd, io(0x1E, 0, 0))

    def find(self, name: str) -> Connector:
        crtcs, connectors = ids(), ids()
        found = call(
            self.fd, 0xA0, "4Q8I", 0, address(crtcs), address(connectors), 0,
            0, len(crtcs), len(connectors), 0, 0, 0, 0, 0,
        )  # fmt: skip
        known = list(crtcs[: found[5]])
        for connector in connectors[: found[6]]:
            encoders, modes = ids(), ctypes.create_string_buffer(64 * 68)
            # The first call has the driver look for modes.
            call(self.fd, 0xA7, "4Q12I", *(0,) * 8, connector, *(0,) * 7)
            got = call(
                self.fd, 0xA7, "4Q12I", address(encoders), ctypes.addressof(modes), 0, 0,
                64, 0, len(encoders), 0, connector, *(0,) * 7,
            )  # fmt: skip
            if f"{CONNECTOR_TYPES[got[9]]}-{got[10]}" == name and got[11] == CONNECTED:
                crtc = self._crtc(encoders[0], known)
                return Connector(connector, known[crtc], self._planes(crtc), modes.raw[:68])
        raise SystemExit(f"no monitor at {name}")

    def _crtc(self, encoder: int, crtcs: list[int]) -> int:
        possible = call(self.fd, 0xA6, "5I", encoder, 0, 0, 0, 0)[3]
        return next(index for index in range(len(crtcs)) if possible >> index & 1)

    def _planes(self, crtc: int) -> list[int]:
        planes = ids()
        count = call(self.fd, 0xB5, "QII", address(planes), len(planes), 0)[1]
        return [
            plane
            for plane in planes[:count]
            if call(self.fd, 0xB6, "6IQ", plane, *(0,) * 6)[3] >> crtc & 1
        ]

    def light(self, at: Connector, colour: str) -> None:
        width, height = struct.unpack_from("HxxxxxxxxH", at.mode, 4)
        _, _, _, _, handle, pitch, size = call(self.fd, 0xB2, "6IQ", height, width, 32, 0, 0, 0, 0)
        offset = call(self.fd, 0xB3, "IIQ", handle, 0, 0)[2]
        with mmap.mmap(self.fd, size, offset=offset) as pixels:
            pixels[:] = int(colour[1:], 16).to_bytes(4, "little") * (size // 4)
        fb = call(self.fd, 0xAE, "7I", 0, width, height, pitch, 32, 24, handle)[0]
        connector = ids(at.connector)
        call(
            self.fd, 0xA2, "Q7I68s",
            address(connector), 1, at.crtc, fb, 0, 0, 0, 1, at.mode,
        )  # fmt: skip

    def lease(self, at: Connector) -> tuple[int, int]:
        """The lease's number and its file."""
        objects = ids(at.connector, at.crtc, *at.planes)
        got = call(
            self.fd, 0xC6, "QIIII",
            address(objects), 2 + len(at.planes), os.O_CLOEXEC, 0, 0,
        )  # fmt: skip
        return got[3], got[4]

    def revoke(self, lessee: int) -> None:
        call(self.fd, 0xC9, "I", lessee)


def file_of(pid: int, card: str) -> int:
    """A second descriptor of the same open file of another process (pidfd_getfd): what logind and it share."""
    process = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    for link in Path(f"/proc/{pid}/fd").iterdir():
        if os.readlink(link) == card:
            fd: int = libc.syscall(SYS_PIDFD_GETFD, process, int(link.name), 0)
            if fd < 0:
                raise OSError(ctypes.get_errno(), "pidfd_getfd")
            return fd
    raise SystemExit(f"process {pid} has not opened {card}")


def stay(revoke: tuple[Card, int] | None = None) -> None:
    signals = {signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    print("ready", flush=True)
    while signal.sigwait(signals) == signal.SIGUSR1:
        if revoke is not None:
            revoke[0].revoke(revoke[1])
            print("revoked", flush=True)


def show(path: str, name: str, colour: str, pid: str = "") -> None:
    card = Card(path)
    if pid:
        fcntl.ioctl(file_of(int(pid), path), io(0x1F, 0, 0))
    card.become_master()
    card.light(card.find(name), colour)
    stay()


def lease(path: str, name: str, other: str, colour: str) -> None:
    card = Card(path)
    card.become_master()
    card.light(card.find(other), colour)
    number, fd = card.lease(card.find(name))
    command = ["xendisplback", "lease", "--fd", str(fd), "desktop"]
    subprocess.run(command, pass_fds=[fd], check=True)
    os.close(fd)
    stay((card, number))


if __name__ == "__main__":
    commands: dict[str, Callable[..., None]] = {"show": show, "lease": lease}
    commands[sys.argv[1]](*sys.argv[2:])
