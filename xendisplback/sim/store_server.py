# SPDX-License-Identifier: GPL-2.0-or-later
"""The wire protocol of XenStore (xen/io/xs_wire.h) on a Unix socket, in a thread and loop of its own.

A socket belongs to one domain: dom0's is the daemon's, others are what a guest's /dev/xen/xenbus would be.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio

from xendisplback.sim.loop_thread import LoopThread
from xendisplback.sim.store_core import Session, StoreCore
from xendisplback.sim.store_tree import StoreError

HEADER = struct.Struct("<IIII")  # type, request id, transaction id, length
MAX_PAYLOAD = 4096
WATCH, WATCH_EVENT, ERROR = 4, 15, 16
OK = b"OK\0"

Handler = Callable[[Session, int, list[str], bytes], bytes]


def _flag(text: str) -> bool:
    if text not in ("T", "F"):
        raise StoreError(errno.EINVAL)
    return text == "T"


def _number(text: str) -> int:
    if not text.isdecimal():
        raise StoreError(errno.EINVAL)
    return int(text)


def _joined(texts: list[str]) -> bytes:
    return "".join(f"{text}\0" for text in texts).encode()


def _directory(session: Session, tx: int, words: list[str], _: bytes) -> bytes:
    listing = _joined(list(session.directory(words[0], tx)[0]))
    if len(listing) > MAX_PAYLOAD:
        raise StoreError(errno.E2BIG)
    return listing


def _directory_part(session: Session, tx: int, words: list[str], _: bytes) -> bytes:
    """From an offset of the listing on, as many whole names as fit; an empty name ends the last part."""
    names, generation = session.directory(words[0], tx)
    part = f"{generation}\0".encode()
    rest = _joined(list(names))[_number(words[1]) :]
    room = MAX_PAYLOAD - len(part) - 1
    if len(rest) <= room:
        return part + rest + b"\0"
    return part + rest[: rest.rindex(b"\0", 0, room) + 1]


def _write(session: Session, tx: int, words: list[str], payload: bytes) -> bytes:
    session.write(words[0], payload[len(words[0]) + 1 :], tx)
    return OK


def _done(method: Callable[[Session, int, list[str]], object]) -> Handler:
    def handler(session: Session, tx: int, words: list[str], _: bytes) -> bytes:
        method(session, tx, words)
        return OK

    return handler


HANDLERS: dict[int, Handler] = {
    1: _directory,
    2: lambda session, tx, words, _: session.read(words[0], tx),
    3: lambda session, tx, words, _: _joined([str(p) for p in session.permissions(words[0], tx)]),
    4: _done(lambda session, tx, words: session.watch(words[0], words[1])),
    5: _done(lambda session, tx, words: session.unwatch(words[0], words[1])),
    6: lambda session, tx, words, _: f"{session.start()}\0".encode(),
    7: _done(lambda session, tx, words: session.end(tx, commit=_flag(words[0]))),
    8: _done(lambda session, tx, words: session.introduce(_number(words[0]))),
    9: _done(lambda session, tx, words: session.release(_number(words[0]))),
    10: lambda session, tx, words, _: f"/local/domain/{_number(words[0])}\0".encode(),
    11: _write,
    12: _done(lambda session, tx, words: session.mkdir(words[0], tx)),
    13: _done(lambda session, tx, words: session.remove(words[0], tx)),
    14: _done(lambda session, tx, words: session.set_permissions(words[0], words[1:], tx)),
    17: lambda session, tx, words, _: (
        b"T\0" if session.is_introduced(_number(words[0])) else b"F\0"
    ),
    21: _done(lambda session, tx, words: session.reset_watches()),
    22: _directory_part,
}
"""By ``enum xsd_sockmsg_type``."""


class _Peer:
    """One connection: requests are answered in order, watch events go out between the answers."""

    def __init__(self, core: StoreCore, domid: int, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._token = trio.lowlevel.current_trio_token()
        self._out = bytearray()
        self._wake = trio.Event()
        self._session = core.session(domid, self._deliver)

    def _deliver(self, path: str, token: str) -> None:
        # Any thread. Made bytes here and queued by the loop, so that events keep the order of the changes.
        payload = f"{path}\0{token}\0".encode()
        packet = HEADER.pack(WATCH_EVENT, 0, 0, len(payload)) + payload
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._send, packet)

    def _send(self, packet: bytes) -> None:
        self._out += packet
        self._wake.set()

    async def serve(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_out)
                await self._read_in()
                nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self._session.close()

    async def _write_out(self) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            out, self._out = self._out, bytearray()
            await self._stream.send_all(out)

    async def _read_in(self) -> None:
        buffer = bytearray()
        while data := await self._stream.receive_some(65536):
            buffer += data
            while len(buffer) >= HEADER.size:
                kind, request_id, transaction, length = HEADER.unpack_from(buffer)
                if length > MAX_PAYLOAD or self._session.closed:
                    return
                if len(buffer) < HEADER.size + length:
                    break
                payload = bytes(buffer[HEADER.size : HEADER.size + length])
                del buffer[: HEADER.size + length]
                # The answer takes the same queue as the events, so that it keeps its place among them.
                answer = self._answer(kind, request_id, transaction, payload)
                self._token.run_sync_soon(self._send, answer)
                if kind == WATCH:
                    path, _, rest = payload.decode("ascii", "surrogateescape").partition("\0")
                    self._session.first_event(path, rest.partition("\0")[0])

    def _answer(self, kind: int, request_id: int, transaction: int, payload: bytes) -> bytes:
        try:
            handler = HANDLERS.get(kind)
            if handler is None:
                raise StoreError(errno.ENOSYS)
            try:
                words = payload.decode("ascii", "surrogateescape").split("\0")
                result = handler(self._session, transaction, words[:-1] or words, payload)
            except IndexError:
                raise StoreError(errno.EINVAL) from None
        except StoreError as error:
            kind, result = ERROR, errno.errorcode[error.errno].encode() + b"\0"
        return HEADER.pack(kind, request_id, transaction, len(result)) + result


class StoreServer:
    """Serves ``core`` on ``directory/domN.sock`` between :meth:`start` and :meth:`stop`."""

    def __init__(self, core: StoreCore, directory: Path) -> None:
        self._core = core
        self._directory = directory
        self._thread = LoopThread("sim-store", self._run)

    def socket_path(self, domid: int) -> Path:
        return self._directory / f"dom{domid}.sock"

    def start(self, domids: tuple[int, ...] = (0,)) -> None:
        """Returns when connections are accepted for ``domids``."""
        for domid in domids:
            self.socket_path(domid).unlink(missing_ok=True)
        self._domids = domids
        self._thread.start()

    def stop(self) -> None:
        """Every connection breaks."""
        self._thread.stop()

    @property
    def thread_id(self) -> int:
        return self._thread.native_id

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            for domid in self._domids:
                socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
                await socket.bind(str(self.socket_path(domid)))
                socket.listen(16)
                nursery.start_soon(self._accept, domid, trio.SocketListener(socket))
            task_status.started()

    async def _accept(self, domid: int, listener: trio.SocketListener) -> None:
        async def serve(stream: trio.SocketStream) -> None:
            await _Peer(self._core, domid, stream).serve()

        await trio.serve_listeners(serve, [listener])
