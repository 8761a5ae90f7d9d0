# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs of another architecture on this machine, by QEMU's user emulation.

Debian's qemu-user-static says in /usr/lib/binfmt.d how the kernel is to start them; on a machine without
systemd (a container) nobody has told the kernel yet.
"""

from __future__ import annotations

from pathlib import Path

from tests.rig.debian import command

BINFMT = Path("/proc/sys/fs/binfmt_misc")
FORMATS = Path("/usr/lib/binfmt.d")


def run_foreign_programs(processor: str) -> None:
    """Programs for ``processor`` ("aarch64") run here, also in a chroot, until the next boot.

    Raises:
        SystemExit: the kernel or a container's limits don't let them.
    """
    if not (BINFMT / "register").exists():
        command("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT, timeout=30)
    format_name = f"qemu-{processor}"
    if not (BINFMT / format_name).exists():
        rule = (FORMATS / f"{format_name}.conf").read_bytes().strip()
        try:
            (BINFMT / "register").write_bytes(rule)
        except OSError as error:
            raise SystemExit(f"rig: the kernel does not register {format_name}: {error}") from None
