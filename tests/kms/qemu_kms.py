# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs on_device.py inside QEMU (TCG, no Xen) on real KMS drivers, and compares QEMU's screen.

    python -m tests.kms.qemu_kms [virtio-gpu virtio-gpu-2 bochs cirrus qxl vkms]

Debian's stock kernel and a small root, both fetched by apt's tools into a cache; the package and
its Python dependencies are those of the running interpreter, which must be Debian 12's 3.11. Needs
qemu-system-x86, mmdebstrap and cpio, and root for mmdebstrap. About a minute a driver. Debian
12's kernel has no vkms: it runs if XDB_VKMS names a module that was built for it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xendisplback
from tests.kms.on_device import pattern


@dataclass(frozen=True)
class Driver:
    module: str
    device: str | None
    """QEMU's; None: nothing that QEMU could show."""
    kernel_option: str = ""
    unplugs: bool = True
    """Whether its calls fail once it is unbound."""


DRIVERS = {
    "virtio-gpu": Driver("virtio_gpu", "virtio-gpu-pci"),
    # No user's window tells QEMU that the second head is there: the kernel is told.
    "virtio-gpu-2": Driver(
        "virtio_gpu", "virtio-gpu-pci,max_outputs=2", "video=Virtual-2:800x600e"
    ),
    "bochs": Driver("bochs", "bochs-display"),
    "cirrus": Driver("cirrus", "cirrus-vga"),
    # Linux 6.1's qxl goes on after unbinding, and refuses flips with EINVAL.
    "qxl": Driver("qxl", "qxl-vga", unplugs=False),
}
if "XDB_VKMS" in os.environ:
    # Unbinding says nothing about vkms: its platform device has no driver.
    DRIVERS["vkms"] = Driver("vkms", None, unplugs=False)

PACKAGES = "python3,busybox-static,kmod,libdrm2"
DEPENDENCIES = [
    *("trio", "attr", "attrs", "sortedcontainers", "idna", "outcome", "sniffio"),
    *("pyxs", "msgspec", "_cffi_backend*.so"),
]
TIMEOUT = 240

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin PYTHONPATH=/python PYTHONDONTWRITEBYTECODE=1
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
exec </dev/ttyS0 >/dev/ttyS0 2>&1
argument() { sed -n "s/.*xdb.$1=\\([^ ]*\\).*/\\1/p" /proc/cmdline | tr , ' '; }
modprobe vgem && python3 /python/on_device.py --no-kms /dev/dri/card0; modprobe -r vgem
modprobe virtio_pci
if [ "$(argument module)" = vkms ]; then modprobe -a drm_kms_helper drm_shmem_helper; insmod /python/vkms.ko
else modprobe "$(argument module)"; fi
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/dri/card0 ] && break; sleep 1; done
python3 /python/on_device.py /dev/dri/card0 $(argument options)
dmesg | grep -E 'WARNING|BUG|Oops|\\*ERROR\\*' | head -20
echo END
poweroff -f
"""


def cache() -> Path:
    path = Path(os.environ.get("XDB_KMS_CACHE", "/var/tmp/xendisplback-kms"))
    path.mkdir(parents=True, exist_ok=True)
    return path


def build_root() -> tuple[Path, Path]:
    """Kernel and initramfs with its modules; made once."""
    kernel, image = cache() / "vmlinuz", cache() / "root.cpio"
    if kernel.exists() and image.exists():
        return kernel, image
    with tempfile.TemporaryDirectory(dir=cache()) as temporary:
        root = Path(temporary) / "root"
        print("fetching a Debian root and kernel", flush=True)
        run = ["mmdebstrap", "--variant=extract", "--aptopt=Apt::Install-Recommends false"]
        run += [f"--include={PACKAGES},linux-image-amd64", "bookworm", str(root)]
        subprocess.run(run, check=True)
        for sub in ("kernel/net", "kernel/sound", "kernel/drivers/net", "kernel/drivers/media"):
            for tree in root.glob(f"lib/modules/*/{sub}"):
                shutil.rmtree(tree)
        version = next((root / "lib/modules").iterdir()).name
        subprocess.run(["chroot", str(root), "/sbin/depmod", version], check=True)
        pack(root, image)
        shutil.move(next((root / "boot").glob("vmlinuz-*")), kernel)
    return kernel, image


def pack(tree: Path, image: Path) -> None:
    names = subprocess.run(["find", "."], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
    with image.open("wb") as out:
        run = ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"]
        subprocess.run(run, cwd=tree, check=True, input=names, stdout=out)


def pack_ours(directory: Path) -> Path:
    """A second cpio, which the kernel unpacks over the first: init, our package, its imports."""
    python = directory / "ours/python"
    package = Path(xendisplback.__file__).parent
    shutil.copytree(package, python / "xendisplback")
    site = Path(sysconfig.get_path("platlib"))
    for name in DEPENDENCIES:
        for found in site.glob(name):
            copy: Callable[..., object] = shutil.copytree if found.is_dir() else shutil.copy
            copy(found, python / found.name)
    shutil.copy(Path(__file__).parent / "on_device.py", python)
    (python / "tests").mkdir()
    shutil.copy(Path(__file__).parents[1] / "drm_events.py", python / "tests")
    if "XDB_VKMS" in os.environ:
        shutil.copy(os.environ["XDB_VKMS"], python / "vkms.ko")
    init = directory / "ours/init"
    init.write_text(INIT)
    init.chmod(0o755)
    pack(directory / "ours", directory / "ours.cpio")
    return directory / "ours.cpio"


def screendump(monitor: Path, file: Path, head: int) -> tuple[int, int, bytes]:
    """Width, height and RGB of one screen of QEMU's."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(monitor))
        stream = connection.makefile("rw")
        for command in (
            {"execute": "qmp_capabilities"},
            {
                "execute": "screendump",
                "arguments": {"filename": str(file), "device": "gpu", "head": head},
            },
        ):
            stream.write(json.dumps(command) + "\n")
            stream.flush()
            while "return" not in (answer := json.loads(stream.readline())):
                if "error" in answer:
                    raise RuntimeError(f"QEMU: {answer['error']}")
    header, size, _, pixels = file.read_bytes().split(b"\n", 3)
    assert header == b"P6"
    width, height = map(int, size.split())
    return width, height, pixels


def compare(monitor: Path, file: Path, held: list[str]) -> str:
    """Looks for up to 3 s: a driver may still be drawing. ``held``: what came after HOLD."""
    name, width, height, seed = held[0], int(held[1]), int(held[2]), int(held[3])
    expected = bytearray(3 * width * height)
    xrgb = b"".join(pattern(width, height, seed))
    for channel in range(3):
        expected[channel::3] = xrgb[2 - channel :: 4]
    deadline, verdict = time.monotonic() + 3, ""
    while time.monotonic() < deadline:
        found = screendump(monitor, file, int(name.rsplit("-", 1)[1]) - 1)
        if found == (width, height, bytes(expected)):
            return f"PASS {name} {width}x{height} seed {seed}: screendump is pixel-exact"
        if found[:2] != (width, height):
            verdict = f"screen is {found[0]}x{found[1]}"
        else:
            wrong = sum(a != b for a, b in zip(found[2], expected, strict=True))
            verdict = f"{wrong} of {len(expected)} bytes differ"
        time.sleep(0.3)
    return f"FAIL {name} {width}x{height} seed {seed}: {verdict}"


def run_driver(name: str, kernel: Path, images: list[Path], directory: Path) -> bool:
    driver = DRIVERS[name]
    monitor, initrd = directory / "qmp", directory / "initrd"
    with initrd.open("wb") as out:
        for image in images:
            out.write(image.read_bytes())
            out.write(bytes(-out.tell() % 512))
    command = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"]
    command += ["-m", "1536", "-nodefaults", "-display", "none", "-vga", "none", "-no-reboot"]
    command += ["-serial", "stdio", "-qmp", f"unix:{monitor},server=on,wait=off"]
    command += ["-device", f"{driver.device},id=gpu"] if driver.device else []
    options = ("--hold,4" if driver.device else "--hold,0") + (
        ",--unplug" if driver.unplugs else ""
    )
    command += ["-kernel", str(kernel), "-initrd", str(initrd), "-append"]
    command += [f"console=ttyS0 quiet panic=-1 xdb.module={driver.module} xdb.options={options}"]
    command[-1] += f" {driver.kernel_option}"
    print(f"=== {name}", flush=True)
    begin, passed, ended = time.monotonic(), 0, False
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as qemu:
        assert qemu.stdout is not None
        try:
            for line in qemu.stdout:
                text = line.strip()
                print(f"{time.monotonic() - begin:6.1f} {text}", flush=True)
                if text.startswith("HOLD ") and driver.device:
                    text = compare(monitor, directory / f"{name}.ppm", text.split()[1:])
                    print(f"       {text}", flush=True)
                if text.startswith("FAIL") or time.monotonic() - begin > TIMEOUT:
                    passed = -1000
                passed += text.startswith("PASS")
                ended |= text.startswith("DONE 0 failed")
        finally:
            qemu.kill()
    ok = ended and passed > 0
    print(f"=== {name}: {'passed' if ok else 'FAILED'}", flush=True)
    return ok


def main() -> int:
    kernel, root = build_root()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        images = [root, pack_ours(directory)]
        names = sys.argv[1:] or list(DRIVERS)
        failed = [name for name in names if not run_driver(name, kernel, images, directory)]
    print(f"failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
