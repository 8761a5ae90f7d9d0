# SPDX-License-Identifier: GPL-2.0-or-later
"""x86-64: Debian's own kernels for dom0 and guests, both PV, and one card with two outputs."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

from tests.rig import initramfs
from tests.rig.cache import HERE, cached
from tests.rig.dom0_root import base_root, disk_image, files
from tests.rig.machines.kind import VIRTIO, GuestKind, Images, MachineKind, Screen
from tests.rig.wheels import wheels

HEADS = 2
# The latter two are a hostile guest's.
GUEST_MODULES = ["drm_xen_front", "xen_gntalloc", "xen_evtchn"]


def _build() -> Images:
    root = base_root("x86_64", "amd64")
    boot = _boot_files(root)
    guest = {
        "root/guest-vmlinuz": boot / "vmlinuz",
        "root/guest.cpio.gz": boot / "guest.cpio.gz",
    }
    disk = disk_image("x86_64", root, wheels("x86_64"), guest)
    return Images(boot / "xen", boot / "vmlinuz", boot / "dom0.cpio.gz", disk)


def _boot_files(root: Path) -> Path:
    def build(path: Path) -> None:
        path.mkdir()
        (path / "xen").write_bytes(gzip.decompress((root / "boot/xen-4.17-amd64.gz").read_bytes()))
        shutil.copy(root / f"boot/vmlinuz-{initramfs.kernel_version(root)}", path / "vmlinuz")
        initramfs.write_dom0(root, path / "dom0.cpio.gz")
        initramfs.write_guest(root, path / "guest.cpio.gz", "gcc", GUEST_MODULES)

    own = [HERE / "dom0" / "init", *files(HERE / "guest")]
    own += [HERE / "cpio.py", HERE / "initramfs.py", Path(__file__)]
    return cached("x86_64-boot", [root.name, *own], "x86_64: initramfs of dom0 and guest", build)


def _hardware(images: Images) -> list[str]:
    xen = "console=com1 com1=115200,8n1 dom0_mem=1280M dom0_max_vcpus=2 noreboot loglvl=info guest_loglvl=info"
    linux = "console=hvc0 root=/dev/vda rw quiet systemd.show_status=0 net.ifnames=0"
    return [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2560"),
        # With SMAP dom0 crashes under TCG; with XSAVE (AVX) its programs now and then do ("corrupted
        # double-linked list" in xl, jumps to nowhere in systemctl).
        # Xen can't let a PVH guest use RDTSCP here ("SVM Insn len emulation failed").
        *("-cpu", "max,-smap,-smep,-pcid,-xsave,-avx,-avx2,-rdtscp"),
        *("-kernel", str(images.xen), "-append", xen),
        *("-initrd", f"{images.kernel} {linux},{images.initrd}"),
        *("-device", f"virtio-gpu-pci,id=gpu,max_outputs={HEADS},{VIRTIO}"),
    ]


X86_64 = MachineKind(
    name="x86_64",
    build=_build,
    hardware=_hardware,
    screens=tuple(
        Screen(f"Virtual-{head + 1}", "gpu", head, plugged_by_vnc=True) for head in range(HEADS)
    ),
    guest=GuestKind("pv", "console=hvc0 quiet panic=1", 192),
)
# What can map memory of other domains into its programs.
PVH_GUEST = GuestKind("pvh", "console=hvc0 quiet panic=1", 256)
