# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the control socket is, and whose it is."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from xendisplback.errors import HostError

MODE = 0o660
BACKLOG = 16


def open_listener(path: Path) -> socket.socket:
    """A listening socket at ``path``, of the daemon's group, and its directory where that is missing.

    Raises HostError: another daemon answers there, or it can't be made.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o750, exist_ok=True)
        _remove_stale(path)
        sock.bind(str(path))
        # Nobody can connect before listen(): nobody sees it with other permissions.
        os.chmod(path, MODE)
        sock.listen(BACKLOG)
    except HostError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise HostError(
            "the control socket can't be made",
            call="bind",
            path=str(path),
            errno=error.errno,
            hint="set control-socket to a path in a directory that the daemon may write",
        ) from error
    return sock


def _remove_stale(path: Path) -> None:
    """Raises HostError, OSError."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HostError(
            "the control socket can't be made: something else is there",
            path=str(path),
            hint="set control-socket to another path",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # Somebody listens, and is busy.
            pass
    raise HostError(
        "another daemon answers at the control socket",
        path=str(path),
        hint="end it (systemctl stop xendisplback), or give this one another control-socket",
    )
