# SPDX-License-Identifier: GPL-2.0-or-later
"""dom0: Debian's root file system, and on top of it the project, installed as README.md says.

Two cached items: the root (by package versions) and the disk image (by the checkout's content).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.rig import debian
from tests.rig.cache import CHECKOUT, HERE, cache_directory, cached
from tests.rig.debian import command

# Documentation and drivers of hardware that QEMU doesn't have: half of the root's size.
LEFT_OUT = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/lib/modules/*/kernel/sound/*",
    *(
        f"/lib/modules/*/kernel/drivers/{name}/*"
        for name in (
            *("net", "media", "ata", "infiniband", "usb", "iio", "hwmon", "staging", "isdn"),
            *("gpu/drm/amd", "gpu/drm/i915", "gpu/drm/nouveau", "gpu/drm/radeon"),
        )
    ),
]
# What a user of the project copies to dom0; tests, documentation and caches would only void the cache.
INSTALLED = ["xendisplback", "cffi_build", "systemd", "conf"]
INSTALLED_FILES = ["pyproject.toml", "setup.py", "README.md"]
MARGIN_MIB = 256


def base_root(machine: str, architecture: str) -> Path:
    """``architecture`` as Debian calls it; another than the host's is configured under emulation."""
    packages = [
        package
        for name in ("packages.txt", f"packages.{machine}.txt")
        for package in (HERE / "dom0" / name).read_text().split()
    ]
    sources = debian.source_lines()
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    options += [f"--aptopt={line}" for line in debian.apt_options()]
    options += ["--variant=minbase", f"--architectures={architecture}"]
    options += [f"--include={','.join(packages)}"]

    def build(path: Path) -> None:
        # INITRD: the rig makes its own initramfs.
        target = [*options, debian.RELEASE, str(path), *sources]
        command("mmdebstrap", "--quiet", *target, timeout=1800, INITRD="No")

    what = f"{machine}: dom0's root file system from Debian packages (1-5 min)"
    return cached(f"{machine}-root", [debian.versions(packages), *options], what, build)


def disk_image(
    machine: str, root: Path, packages: Path, added: dict[str, Path], xen_settings: str = ""
) -> Path:
    """``packages``: wheels for pip; ``added``: cached items by their paths in dom0, without the first "/".

    ``xen_settings``: lines of /etc/default/xen.
    """
    source = [CHECKOUT / name for name in INSTALLED_FILES]
    source += [file for name in INSTALLED for file in files(CHECKOUT / name)]

    def build(path: Path) -> None:
        work = path.with_suffix(".root")
        if work.exists():
            shutil.rmtree(work)
        command("cp", "-a", "--reflink=auto", root, work, timeout=300)
        _configure(work, xen_settings)
        _install(work, packages, source)
        for target, item in added.items():
            shutil.copy(item, work / target)
        used = int(command("du", "-sm", work, timeout=120).split()[0])
        image = f"{used + used // 8 + MARGIN_MIB}M"
        command("mkfs.ext4", "-q", "-d", work, path, image, timeout=600)
        shutil.rmtree(work)

    parts: list[str | Path] = [root.name, packages.name, xen_settings]
    parts += [f"{to} {item.relative_to(cache_directory())}" for to, item in added.items()]
    parts += [str(file.relative_to(CHECKOUT)) for file in source]
    parts += [*source, *files(HERE / "dom0"), Path(__file__)]
    what = f"{machine}: disk image, the project installed in dom0's root"
    return cached(f"{machine}-disk", parts, what, build)


def _install(root: Path, packages: Path, source: list[Path]) -> None:
    """README.md's commands, with pip told to take what it needs from ``packages``."""
    checkout = root / "root/xendisplback"
    for file in source:
        target = checkout / file.relative_to(CHECKOUT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.copytree(packages, root / "root/wheels")
    script = """
        set -e
        python3 -m venv /opt/xendisplback
        /opt/xendisplback/bin/pip install --quiet /root/xendisplback
        ln -s /opt/xendisplback/bin/xendisplback /usr/local/bin/
        cd /root/xendisplback
        install -D -m 644 conf/xendisplback.toml /etc/xendisplback/xendisplback.toml
        install -m 644 systemd/xendisplback.service /etc/systemd/system/
        install -D -m 644 systemd/xendisplback.sysusers /etc/sysusers.d/xendisplback.conf && systemd-sysusers
        systemctl enable --quiet xendisplback
        rm -r /root/wheels /root/xendisplback
    """
    command(
        *("chroot", root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"),
        *("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/root/wheels", "PIP_NO_CACHE_DIR=1"),
        *("sh", "-c", script),
        timeout=900,
    )


def _configure(root: Path, xen_settings: str) -> None:
    """The rig's own units and settings; nothing of the project."""
    shutil.copy(HERE / "dom0" / "agent.py", root / "usr/local/sbin/rig-agent")
    shutil.copy(HERE / "dom0" / "rig-agent.service", root / "etc/systemd/system")
    console = root / "etc/systemd/system/serial-getty@hvc0.service.d"
    console.mkdir()
    login = "-/sbin/agetty --autologin root --noclear %I 115200 vt220"
    (console / "login.conf").write_text(f"[Service]\nExecStart=\nExecStart={login}\n")
    # The guests' consoles in /var/log/xen/console, also when nobody reads them.
    with (root / "etc/default/xen").open("a") as settings:
        settings.write(f"XENCONSOLED_ARGS=--log=guest\n{xen_settings}")
    (root / "var/log/xen/console").mkdir(parents=True)
    (root / "etc/fstab").write_text("/dev/vda / ext4 rw,noatime 0 0\n")
    (root / "etc/hostname").write_text("dom0\n")
    (root / "etc/motd").write_bytes(b"")
    # Its first-boot questions and periodic jobs only cost time.
    (root / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    idle = ["apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer"]
    idle += ["dpkg-db-backup.timer", "e2scrub_reap.service", "systemd-timesyncd.service"]
    idle += ["systemd-journal-flush.service", "systemd-update-utmp.service"]
    command("systemctl", f"--root={root}", "mask", *idle, timeout=60)
    command("systemctl", f"--root={root}", "enable", "rig-agent.service", timeout=60)


def files(directory: Path) -> list[Path]:
    return sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    )
