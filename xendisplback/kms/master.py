# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is DRM master of a device, as debugfs tells; for messages only.

``/sys/kernel/debug/dri/<minor>/clients`` (linux/drivers/gpu/drm/drm_debugfs.c) has a header and a
line for each open file. Columns were added over time, so the header tells where ``master`` is.
"""

from __future__ import annotations

import os
from pathlib import Path


def parse_master(clients: str) -> str | None:
    """``"Xorg (pid 612)"`` from a ``clients`` file's text; None where nobody is master."""
    lines = [line.split() for line in clients.splitlines()]
    columns = lines[0] if lines else []
    if columns[:1] != ["command"] or "master" not in columns:
        return None
    master = columns.index("master")
    for words in lines[1:]:
        # A command may hold spaces; every other column is one word. The second is the process id.
        extra = len(words) - len(columns)
        if extra >= 0 and words[master + extra] == "y":
            return f"{' '.join(words[: 1 + extra])} (pid {words[1 + extra]})"
    return None


def master_holder(path: str) -> str | None:
    """The master of the device ``path``; None where debugfs can't tell (not mounted, not root)."""
    try:
        minor = os.minor(Path(path).stat().st_rdev)
        return parse_master(Path(f"/sys/kernel/debug/dri/{minor}/clients").read_text("utf-8"))
    except OSError:
        return None
