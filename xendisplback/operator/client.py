# SPDX-License-Identifier: GPL-2.0-or-later
"""One question to the daemon and its answer, over the control socket."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Mapping
from typing import Final, cast

from xendisplback.errors import HostError
from xendisplback.operator import MAX_LINE, VERSION

SECONDS: Final = 30.0
"""For an answer: a card may take seconds for each mode that is set."""
_MAX_REPLY: Final = 16 * 1024 * 1024

_HINTS = {
    errno.ENOENT: "is the daemon running? systemctl start xendisplback, or xendisplback run",
    errno.ECONNREFUSED: "is the daemon running? systemctl start xendisplback, or xendisplback run",
    errno.EACCES: "ask as root, or as a member of the group that the socket belongs to",
}


def ask(
    path: str, command: str, arguments: Mapping[str, object] | None = None, fd: int | None = None
) -> dict[str, object]:
    """The daemon's reply to ``command``; ``fd`` is sent along and stays open here.

    Raises HostError: nobody listens at ``path``, no answer in time, or the daemon refused.
    """
    request = {"version": VERSION, "command": command, **(arguments or {})}
    line = json.dumps(request, ensure_ascii=False).encode() + b"\n"
    if len(line) > MAX_LINE:
        raise HostError(f"a request of {len(line)} bytes is too long", hint="split it up")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(SECONDS)
        try:
            sock.connect(path)
        except OSError as error:
            raise HostError(
                "the daemon can't be reached",
                call="connect",
                path=path,
                errno=error.errno,
                hint=_HINTS.get(error.errno or 0),
            ) from error
        try:
            sent = socket.send_fds(sock, [line], [] if fd is None else [fd])
            # A daemon that has answered and gone would make even a write of nothing fail.
            if sent < len(line):
                sock.sendall(line[sent:])
            reply = _read_line(sock)
        except TimeoutError as error:
            raise HostError(f"the daemon did not answer within {SECONDS:g} s", path=path) from error
        except OSError as error:
            raise HostError(
                "the daemon ended the conversation", call="recv", path=path, errno=error.errno
            ) from error
    return _checked(reply, path)


def _read_line(sock: socket.socket) -> bytes:
    read = bytearray()
    while not read.endswith(b"\n"):
        part = sock.recv(65536)
        if not part or len(read) > _MAX_REPLY:
            raise ConnectionResetError
        read += part
    return bytes(read)


def _checked(line: bytes, path: str) -> dict[str, object]:
    try:
        untyped: object = json.loads(line)
    except ValueError:
        untyped = None
    reply = cast("dict[str, object]", untyped) if isinstance(untyped, dict) else {}
    if reply.get("ok") is True:
        return reply
    raise HostError(str(reply.get("error", "what answered is no xendisplback daemon")), path=path)
