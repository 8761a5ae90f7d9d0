# SPDX-License-Identifier: GPL-2.0-or-later
"""The initial RAM disks, made of files of dom0's root: modules of Debian's kernel, busybox and modetest.

dom0's loads the disk's driver and hands over to systemd. The guest's is all the guest has: the modules of
``xen_drm_front`` where it is one, modetest, and our drawing program (guest/draw.c), which serves its console.
"""

from __future__ import annotations

from pathlib import Path

from tests.rig.cache import HERE
from tests.rig.cpio import Cpio
from tests.rig.debian import command

DOM0_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
APPLETS = [
    "sh",
    "mount",
    "modprobe",
    "rmmod",
    "insmod",
    "switch_root",
    "sleep",
    "ls",
    "cat",
    "mkdir",
]


def kernel_version(root: Path) -> str:
    (vmlinuz,) = (root / "boot").glob("vmlinuz-*")
    return vmlinuz.name.removeprefix("vmlinuz-")


def write_dom0(root: Path, path: Path) -> None:
    archive = _base(root, DOM0_MODULES)
    archive.copy(HERE / "dom0" / "init", "init")
    archive.write(path)


def write_guest(root: Path, path: Path, compiler: str, modules: list[str]) -> None:
    """``compiler`` makes programs for the guest; ``modules`` is empty for a kernel with all built in."""
    archive = _base(root, modules)
    archive.copy(HERE / "guest" / "init", "init")
    archive.copy(HERE / "guest" / "poweroff", "sbin/poweroff")
    _add_program(archive, root, "/usr/bin/modetest")
    draw = path.with_suffix(".draw")
    flags = ["-static", "-O2", "-Wall", "-Wextra", "-Werror"]
    command(compiler, *flags, "-o", draw, *(HERE / "guest").glob("*.c"), timeout=120)
    archive.copy(draw, "bin/draw")
    draw.unlink()
    archive.write(path)


def _base(root: Path, modules: list[str]) -> Cpio:
    archive = Cpio()
    for name in ("proc", "sys", "dev", "tmp", "root"):
        archive.directory(name)
    # The kernel opens it before devtmpfs is mounted.
    archive.character_device("dev/console", 5, 1)
    archive.copy(root / "bin/busybox", "bin/busybox")
    for applet in APPLETS:
        archive.link(f"bin/{applet}", "busybox")
    archive.link("sbin/modprobe", "../bin/busybox")
    if modules:
        _add_modules(archive, root, modules)
    return archive


def _add_modules(archive: Cpio, root: Path, names: list[str]) -> None:
    """The modules and what they need, with the part of modules.dep that busybox reads."""
    directory = f"lib/modules/{kernel_version(root)}"
    needs: dict[str, list[str]] = {}
    for line in (root / directory / "modules.dep").read_text().splitlines():
        module, _, others = line.partition(":")
        needs[module] = others.split()
    paths = {Path(module).stem.replace("-", "_"): module for module in needs}
    built_in = (root / directory / "modules.builtin").read_text().replace("-", "_")
    wanted = [paths[name] for name in names if name in paths or f"/{name}.ko" not in built_in]
    kept = {module for path in wanted for module in (path, *needs[path])}
    for module in sorted(kept):
        archive.copy(root / directory / module, f"{directory}/{module}")
    lines = [f"{module}: {' '.join(needs[module])}\n" for module in sorted(kept)]
    archive.file(f"{directory}/modules.dep", "".join(lines).encode())


def _add_program(archive: Cpio, root: Path, program: str) -> None:
    archive.copy(root / program[1:], program.removeprefix("/usr/"))
    for line in command("chroot", root, "ldd", program, timeout=60).splitlines():
        for word in line.split():
            if word.startswith("/") and word[1:] not in archive:
                archive.copy((root / word[1:]).resolve(), word[1:])
