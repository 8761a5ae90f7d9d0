# SPDX-License-Identifier: GPL-2.0-or-later
"""What an operator asks of a running daemon: the control socket, and the commands that use it.

The protocol: one JSON object a line, both ways, at most :data:`MAX_LINE` bytes with the newline. A request has
``version`` and ``command``; a reply ``version``, ``ok`` and, where that is false, ``error``. The commands' side of
it imports neither trio nor msgspec: they are to answer at once.
"""

from __future__ import annotations

from typing import Final

SOCKET: Final = "/run/xendisplback/control"
VERSION: Final = 1
MAX_LINE: Final = 64 * 1024
"""Of a request."""
