# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rest of the rig knows of an emulated machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Of every virtio device: DMA addresses, which in dom0 need not be the physical ones. tests/rig/qemu.py.
VIRTIO = "disable-legacy=on,iommu_platform=on"


@dataclass(frozen=True, slots=True)
class Images:
    """What QEMU is started with; the disk is a cached item, so it must be used as a snapshot.

    ``initrd`` is None where dom0's kernel needs none.
    """

    xen: Path
    kernel: Path
    initrd: Path | None
    disk: Path


@dataclass(frozen=True, slots=True)
class Screen:
    """A picture that QEMU can be asked for: ``head`` of the device with that id.

    ``output`` names the connector in dom0 that shows there. A screen with ``plugged_by_vnc`` has a monitor
    only once a VNC client has said a size.
    """

    output: str
    device: str
    head: int = 0
    plugged_by_vnc: bool = False


@dataclass(frozen=True, slots=True)
class GuestKind:
    """The machine's lines in a guest's xl.cfg; ``memory`` in MiB."""

    type: str
    extra: str
    memory: int


@dataclass(frozen=True, slots=True)
class MachineKind:
    """``build`` makes what is missing in the cache; ``hardware`` is QEMU's command line up to the screens.

    The rest of that line (disk, agent, monitor) is the same everywhere: :mod:`tests.rig.qemu`. A screen's
    number, where one is asked for, is its place in ``screens``.
    """

    name: str
    build: Callable[[], Images]
    hardware: Callable[[Images], list[str]]
    screens: tuple[Screen, ...]
    guest: GuestKind
