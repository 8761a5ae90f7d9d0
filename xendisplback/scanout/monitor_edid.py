# SPDX-License-Identifier: GPL-2.0-or-later
"""The EDID that guests read of an output: its monitor's, or what the operator wants them to believe."""

from __future__ import annotations

from pathlib import Path

import trio

from xendisplback.errors import HostError
from xendisplback.host import Connector
from xendisplback.protocol.edid import check_edid
from xendisplback.scanout.layout import OutputLayout


async def edid_of(connector: Connector, layout: OutputLayout) -> bytes:
    """b"": one is to be made. Raises HostError."""
    if layout.edid == "monitor":
        return connector.edid
    if layout.edid == "made":
        return b""
    return await trio.to_thread.run_sync(read_edid, Path(layout.edid))


def read_edid(path: Path) -> bytes:
    """Blocking. Raises HostError where it is no EDID."""
    try:
        edid = path.read_bytes()
        check_edid(edid)
    except OSError as error:
        raise HostError(
            "the EDID can't be read", call="open", path=str(path), errno=error.errno
        ) from error
    except ValueError as error:
        raise HostError(f"no EDID: {error}", path=str(path)) from error
    return edid
