# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is DRM master of a device, as debugfs tells; for messages only.

``/sys/kernel/debug/dri/<minor>/clients`` (linux/drivers/gpu/drm/drm_debugfs.c) has a header and a line per
open file. Columns were added over time, so they are found by the header's names.
"""

from __future__ import annotations

import os


def parse_master(clients: str) -> str | None:
    """``"Xorg (pid 612)"`` from the text of a ``clients`` file; None where no line is the master's."""
    lines = [line.split() for line in clients.splitlines()]
    if not lines or not {"command", "master"} <= set(lines[0]):
        return None
    # A command may hold spaces; every other column is one word, so count them from the right.
    columns = lines[0]
    master = columns.index("master") - len(columns)
    pid_from_command = columns.index("pid") - columns.index("command")
    for words in lines[1:]:
        if len(words) >= len(columns) and words[master] == "y":
            extra = len(words) - len(columns)
            pid = words[columns.index("pid") + extra]
            command = " ".join(words[: pid_from_command + extra])
            return f"{command} (pid {pid})"
    return None


def master_holder(path: str) -> str | None:
    """The master of the device ``path``; None where debugfs does not tell (not mounted, not root)."""
    try:
        minor = os.minor(os.stat(path).st_rdev)
        with open(f"/sys/kernel/debug/dri/{minor}/clients", encoding="utf-8") as clients:
            return parse_master(clients.read())
    except OSError:
        return None
