# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket: what an operator, or a program of theirs, may ask of the running daemon.

Who may is a matter of the socket's permissions. No client holds the daemon up: each has a time to make a request
and to take its reply, a line has a limit, clients are few, and what changes something runs one at a time.
What is no request ends the conversation with an error; a request that can't be done only gets the error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import trio

from xendisplback import __version__
from xendisplback.errors import HostError
from xendisplback.operator import VERSION
from xendisplback.operator.listener import open_listener
from xendisplback.operator.stream import ControlStream, Garbage
from xendisplback.scanout.layout import GuestName, LayoutError, Place, is_name

logger = logging.getLogger(__name__)

MAX_CLIENTS: Final = 16
REQUEST_SECONDS: Final = 60.0
"""Until a whole request is there: also how long a client may be idle."""
REPLY_SECONDS: Final = 10.0
"""Until a client has taken its reply."""


class Control(Protocol):
    """What the daemon does for its clients; it refuses with a HostError, which the client is told."""

    async def route(self, changes: Mapping[GuestName, tuple[Place, ...] | None]) -> None:
        """All of ``changes`` or, where one is refused, none; None: back to the guest's ``unique-id``."""
        ...

    def layout(self) -> Mapping[str, object]:
        """The layout as :func:`xendisplback.scanout.report.describe` says it."""
        ...

    async def adopt_lease(self, fd: int, name: str) -> None:
        """Use a DRM lease as a card called ``name``. ``fd`` is this method's, also when it refuses."""
        ...


Frontends = Callable[[], Sequence[Mapping[str, object]]]
"""What :meth:`xendisplback.daemon.service.Service.frontends` says."""


class _Envelope(msgspec.Struct):
    version: int
    command: str


class _Layout(msgspec.Struct, tag="layout", tag_field="command", forbid_unknown_fields=True):
    version: int


class _Status(msgspec.Struct, tag="status", tag_field="command", forbid_unknown_fields=True):
    version: int


class _Route(msgspec.Struct, tag="route", tag_field="command", forbid_unknown_fields=True):
    version: int
    routes: dict[str, list[str] | str]

    def changes(self) -> dict[GuestName, tuple[Place, ...] | None]:
        """Raises LayoutError."""
        changes: dict[GuestName, tuple[Place, ...] | None] = {}
        for name, places in self.routes.items():
            guest = GuestName.parse(name)
            if guest in changes:
                raise LayoutError(f"guest {guest} is named twice")
            if isinstance(places, str) and places != "default":
                raise LayoutError(f'guest {guest}: {places!r} is neither a list nor "default"')
            changes[guest] = None if isinstance(places, str) else tuple(map(Place.parse, places))
        return changes


class _Lease(msgspec.Struct, tag="lease", tag_field="command", forbid_unknown_fields=True):
    version: int
    name: str


_Request = _Layout | _Status | _Route | _Lease
_envelopes = msgspec.json.Decoder(_Envelope)
_requests: msgspec.json.Decoder[_Request] = msgspec.json.Decoder(_Request)


async def serve_control(
    path: Path,
    control: Control,
    frontends: Frontends,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Task: answer at ``path`` until cancelled. Started: whoever connects will be answered.

    What a dead daemon left at ``path`` is replaced. Raises HostError where a living one answers there,
    or the socket can't be made.
    """
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(open_listener(path)))
    clients = _Clients(control, frontends)
    task_status.started()
    try:
        await trio.serve_listeners(clients.serve, [listener])
    finally:
        path.unlink(missing_ok=True)


class _Clients:
    def __init__(self, control: Control, frontends: Frontends) -> None:
        self._control = control
        self._frontends = frontends
        self._count = 0

    async def serve(self, sock: trio.SocketStream) -> None:
        """One client, from its first word to its last."""
        with ControlStream(sock) as stream:
            self._count += 1
            try:
                if self._count > MAX_CLIENTS:
                    await _send(stream, _refusal(f"there are {MAX_CLIENTS} clients already"))
                    return
                await self._converse(stream)
            except Garbage as error:
                await _send(stream, _refusal(str(error)))
            finally:
                self._count -= 1

    async def _converse(self, stream: ControlStream) -> None:
        """Until the client goes, or does not take its reply. Raises Garbage."""
        while True:
            try:
                with trio.fail_after(REQUEST_SECONDS):
                    line = await stream.read_line()
            except trio.TooSlowError:
                raise Garbage(f"no request within {REQUEST_SECONDS:g} s") from None
            if line is None:
                return
            reply = await self._reply(line, stream)
            stream.drop_files()
            if not await _send(stream, reply):
                return

    async def _reply(self, line: bytes, stream: ControlStream) -> dict[str, object]:
        _check_envelope(line)
        try:
            request = _requests.decode(line)
        except msgspec.ValidationError as error:
            return _refusal(_without_root(error))
        try:
            return {"version": VERSION, "ok": True, **await self._done(request, stream)}
        except HostError as error:
            return _refusal(str(error))

    async def _done(self, request: _Request, stream: ControlStream) -> dict[str, object]:
        """What the reply says beside ``ok``. Raises HostError."""
        if isinstance(request, _Layout):
            return {"layout": dict(self._control.layout())}
        if isinstance(request, _Status):
            return {
                "status": {
                    "version": __version__,
                    "frontend": self._frontends(),
                    **self._control.layout(),
                }
            }
        if isinstance(request, _Route):
            await self._control.route(request.changes())
            logger.info("%s routed %s", stream.peer(), _describe(request))
        else:
            await self._adopt_lease(request.name, stream)
        return {}

    async def _adopt_lease(self, name: str, stream: ControlStream) -> None:
        """Raises HostError."""
        if not is_name(name):
            raise HostError(f"{name!r} is no name", hint="write letters, digits, '.', '_' or '-'")
        fd = stream.take_file()
        if fd is None:
            raise HostError("no file came with the lease", hint="send its fd along (SCM_RIGHTS)")
        await self._control.adopt_lease(fd, name)
        logger.info("%s gave the lease %s", stream.peer(), name)


def _check_envelope(line: bytes) -> None:
    """Raises Garbage."""
    try:
        version = _envelopes.decode(line).version
    except (ValueError, RecursionError) as error:
        raise Garbage(f"no request: {_without_root(error)}") from error
    if version != VERSION:
        raise Garbage(f"version {version} is not spoken here, only {VERSION}")


def _without_root(error: Exception) -> str:
    """msgspec's message, with a key as it was written and no ``$.`` before it."""
    return str(error).replace("`$.", "`")


async def _send(stream: ControlStream, reply: dict[str, object]) -> bool:
    """Whether the client took it in time."""
    with trio.move_on_after(REPLY_SECONDS) as scope:
        try:
            await stream.send(msgspec.json.encode(reply) + b"\n")
        except trio.BrokenResourceError:
            return False
    return not scope.cancelled_caught


def _refusal(why: str) -> dict[str, object]:
    return {"version": VERSION, "ok": False, "error": why}


def _describe(request: _Route) -> str:
    return ", ".join(
        f"{guest} to {places if isinstance(places, str) else ' and '.join(places) or 'none'}"
        for guest, places in request.routes.items()
    )
