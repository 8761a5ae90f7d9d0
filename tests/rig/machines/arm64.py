# SPDX-License-Identifier: GPL-2.0-or-later
"""ARM64: the architecture on which a guest's pages can be exported as dma-bufs, with three cards in dom0.

virtio-gpu and bochs-display have their stock drivers, on which an import fails as it does in the field.
QEMU's ramfb reads the machine's memory by address, as a display controller without an IOMMU does; nothing
drives it until a scenario loads ``/root/rig_display.ko`` (kernel/rig_display/) as the controller it wants.
"""

from __future__ import annotations

from pathlib import Path

from tests.rig import initramfs
from tests.rig.cache import HERE, cached
from tests.rig.dom0_root import base_root, disk_image, files
from tests.rig.foreign import run_foreign_programs
from tests.rig.linux_source import Linux
from tests.rig.machines.kind import VIRTIO, GuestKind, Images, MachineKind, Screen
from tests.rig.wheels import wheels

COMPILER = "aarch64-linux-gnu-"
LINUX = Linux("linux-source-7.2", "forky", "arm64", COMPILER, HERE / "kernel" / "arm64.config")
# Debian's choice, where nothing is said, is oxenstored: the other machine has it.
XENSTORED_IN_C = "XENSTORED=/usr/lib/xen-4.17/bin/xenstored\n"
# Numbers of the screens.
GPU, BOCHS, RAMFB = range(3)
# What rig_display.ko's parameter "head2" wants.
BOCHS_ADDRESS = "0000:00:05.0"


def _build() -> Images:
    run_foreign_programs("aarch64")
    linux = LINUX.build()
    root = base_root("arm64", "arm64")
    added = {
        "root/guest-vmlinuz": linux / "Image",
        "root/guest.cpio.gz": _guest_initramfs(root),
        "root/rig_display.ko": LINUX.module(linux, HERE / "kernel" / "rig_display"),
    }
    disk = disk_image("arm64", root, wheels("aarch64"), added, XENSTORED_IN_C)
    return Images(root / "boot/xen-4.17-arm64", linux / "Image", None, disk)


def _guest_initramfs(root: Path) -> Path:
    own = [*files(HERE / "guest"), HERE / "cpio.py", HERE / "initramfs.py"]

    def build(path: Path) -> None:
        initramfs.write_guest(root, path, f"{COMPILER}gcc", [])

    return cached("arm64-guest", [root.name, *own], "arm64: initramfs of guests", build)


def _hardware(images: Images) -> list[str]:
    xen = (
        "console=dtuart dtuart=/pl011@9000000 dom0_mem=1536M dom0_max_vcpus=2 bootscrub=0 noreboot"
    )
    # Contiguous memory: what exports with WRITE_COMBINED or COHERENT and the cards' dumb buffers are made of.
    # Without the virtual card, outputs are numbered in the order of the devices below.
    linux = (
        "console=hvc0 root=/dev/vda rw quiet systemd.show_status=0"
        " cma=128M vkms.create_default_dev=0"
    )
    slot = int(BOCHS_ADDRESS[-4:-2], 16)
    return [
        *("qemu-system-aarch64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "3072"),
        *("-machine", "virt,virtualization=on,gic-version=3", "-cpu", "cortex-a57"),
        *("-kernel", str(images.xen), "-append", xen),
        *("-device", f"guest-loader,addr=0x50000000,kernel={images.kernel},bootargs={linux}"),
        *("-device", f"virtio-gpu-pci,id=gpu,addr={slot - 1},{VIRTIO}"),
        *("-device", f"bochs-display,id=bochs,addr={slot}"),
        *("-device", "ramfb,id=ramfb"),
    ]


ARM64 = MachineKind(
    name="arm64",
    build=_build,
    hardware=_hardware,
    screens=(
        Screen("Virtual-1", "gpu", plugged_by_vnc=True),
        Screen("Virtual-2", "bochs"),
        # Once rig_display.ko is loaded.
        Screen("HDMI-A-1", "ramfb"),
    ),
    guest=GuestKind("pvh", "console=hvc0 quiet panic=1 cma=64M", 192),
)
