# SPDX-License-Identifier: GPL-2.0-or-later
"""XenStore for trio: nodes, permissions, transactions and watches over one connection.

Any number of tasks may use one :class:`XenStore` at once. Everything raises :class:`StoreError`
where the store refuses, and :class:`StoreClosed` once the connection is gone. A cancelled call
leaves open whether the store obeyed; it leaks nothing there.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import trio

from xendisplback.xen.store_link import Link, StoreError
from xendisplback.xen.store_transport import StoreClosed, open_transport
from xendisplback.xen.store_wire import (
    InvalidRequest,
    Operation,
    Permission,
    WireError,
    decode_number,
    decode_permissions,
    decode_strings,
    decode_text,
    encode_path,
    encode_permissions,
    encode_watch_path,
)

__all__ = ["Permission", "StoreClosed", "StoreError", "Transaction", "Watch", "XenStore"]

T = TypeVar("T")

TRANSACTION_TRIES = 64
"""A guest that keeps writing a node which we read makes us start over, but not for ever."""

COMMIT_SECONDS = 2.0
"""How long a cancelled task waits to learn whether its transaction took effect."""

MAX_DISTINCT_PATHS = 256
"""A watch that holds more paths than this, unread, forgets them and reports its own path."""

_DIRECTORY_TRIES = 64


class _Nodes:
    """The operations on nodes, inside a transaction or (0) outside."""

    def __init__(self, link: Link, tx_id: int) -> None:
        self._link = link
        self._tx_id = tx_id

    async def read(self, path: str) -> bytes:
        """Raises StoreError (ENOENT where there is no such node)."""
        return await self._ask(Operation.READ, path)

    async def get(self, path: str) -> str | None:
        """The node's text, or None where there is no such node.

        Never fails on what a guest wrote: bytes that are not UTF-8 come as backslash escapes.
        """
        try:
            return decode_text(await self.read(path))
        except StoreError as error:
            if error.errno != errno.ENOENT:
                raise
            return None

    async def write(self, path: str, value: str | bytes) -> None:
        """Creates the node, and those above it, where they are missing."""
        data = value.encode() if isinstance(value, str) else value
        await self._ask(Operation.WRITE, path, data)

    async def mkdir(self, path: str) -> None:
        """An existing node stays as it is."""
        await self._ask(Operation.MKDIR, path)

    async def remove(self, path: str) -> None:
        """With all below it. A missing node is no error while the one above it exists."""
        await self._ask(Operation.RM, path)

    async def directory(self, path: str) -> list[str]:
        """Names of the nodes below ``path``; empty where there is no such node."""
        try:
            return decode_strings(await self._ask(Operation.DIRECTORY, path))
        except StoreError as error:
            match error.errno:
                case errno.ENOENT:
                    return []
                case errno.E2BIG:
                    return await self._directory_in_parts(path)
                case _:
                    raise

    async def permissions(self, path: str) -> list[Permission]:
        """At least one; the first is the owner's."""
        payload = await self._ask(Operation.GET_PERMS, path)
        try:
            return decode_permissions(payload)
        except WireError as error:
            raise StoreError.of(Operation.GET_PERMS, path, errno.EIO) from error

    async def set_permissions(self, path: str, permissions: Sequence[Permission]) -> None:
        """The first entry names the owner, and what domains without an own entry may do."""
        try:
            data = encode_permissions(permissions)
        except InvalidRequest as error:
            raise StoreError.of(Operation.SET_PERMS, path, error.errno) from error
        await self._ask(Operation.SET_PERMS, path, data)

    async def _directory_in_parts(self, path: str) -> list[str]:
        """XS_DIRECTORY_PART: a generation, then names from an offset on; an empty name is the end.

        The generation changes with the node: then the parts do not fit each other.
        """
        for _ in range(_DIRECTORY_TRIES):
            names: list[str] = []
            offset, first_generation = 0, None
            while True:
                payload = await self._ask(Operation.DIRECTORY_PART, path, b"%d\0" % offset)
                generation, _, part = payload.partition(b"\0")
                if first_generation not in (None, generation):
                    break
                first_generation = generation
                part_names = decode_strings(part)
                if not part_names:
                    raise StoreError.of(Operation.DIRECTORY_PART, path, errno.EIO)
                if part_names[-1] == "":
                    return names + part_names[:-1]
                names += part_names
                offset += len(part)
        raise StoreError.of(Operation.DIRECTORY_PART, path, errno.EAGAIN)

    async def _ask(self, operation: Operation, path: str, data: bytes = b"") -> bytes:
        try:
            encoded_path = encode_path(path)
        except InvalidRequest as error:
            raise StoreError.of(operation, path, error.errno) from error
        return await self._link.request(operation, (encoded_path, data), path, self._tx_id)


class Transaction(_Nodes):
    """See :meth:`XenStore.transact`."""


class Watch:
    """Iterate over it for the paths that changed, oldest first.

    The first is the watched one (the store's initial event). Equal paths that wait to be read are
    one; none is ever dropped.
    """

    def __init__(self, link: Link, path: str) -> None:
        self.path = path
        self._link = link
        self._paths: dict[str, None] = {}
        self._collapsed = False
        self._ended = False
        self._woken = trio.Event()

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> str:
        """Raises StoreClosed. The iteration ends with the block of :meth:`XenStore.watch`."""
        await trio.lowlevel.checkpoint()
        self._link.check_open()
        while not self._paths and not self._ended:
            await self._woken.wait()
            self._link.check_open()
        if self._ended:
            raise StopAsyncIteration
        path = next(iter(self._paths))
        del self._paths[path]
        self._collapsed = False
        if not self._paths:
            self._woken = trio.Event()
        return path

    def notify(self, path: str) -> None:
        """Called by the link."""
        if not self._collapsed:
            self._paths[path] = None
            if len(self._paths) > MAX_DISTINCT_PATHS:
                self._paths = {self.path: None}
                self._collapsed = True
        self._woken.set()

    def end(self) -> None:
        """Called when the watch's block ends."""
        self._ended = True
        self._woken.set()

    def wake(self) -> None:
        """Called by the link when it ends."""
        self._woken.set()


class XenStore(_Nodes):
    """Made by :meth:`connect`."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, path: str | None = None) -> AsyncGenerator[XenStore]:
        """A connection for the length of the block.

        ``path``: xenstored's socket or the kernel's device; None takes $XENSTORED_PATH, or else
        xenstored's usual socket, then /dev/xen/xenbus. Raises HostError, naming what is missing or
        not permitted.
        """
        transport = await open_transport(path)
        link = Link(transport)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run)
                try:
                    yield cls(link, 0)
                finally:
                    link.close("the connection to XenStore was ended")
                    nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            # The link raises nothing, so this is the caller's one exception, in the wrapping of a
            # nursery that the caller does not see, perhaps beside a cancellation.
            errors = [e for e in group.exceptions if not isinstance(e, trio.Cancelled)]
            error = (errors or group.exceptions)[0]
            raise error from error.__cause__
        finally:
            transport.close()

    async def transact(self, body: Callable[[Transaction], Awaitable[T]]) -> T:
        """What ``body`` returns, once all that it did has taken effect at once.

        ``body`` runs again from the start when another client got in between, so it must have no
        effect outside of its transaction. Its exception undoes the transaction. Raises StoreError
        (EAGAIN) after 64 attempts.
        """
        for _ in range(TRANSACTION_TRIES):
            tx_id = await self._start_transaction()
            try:
                result = await body(Transaction(self._link, tx_id))
            except BaseException:
                self._abort_transaction(tx_id)
                raise
            if await self._commit_transaction(tx_id):
                return result
        raise StoreError.of(Operation.TRANSACTION_END, None, errno.EAGAIN)

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncGenerator[Watch]:
        """Within the block: changes of ``path`` and all below it.

        ``path`` may be ``@introduceDomain`` or ``@releaseDomain``.
        """
        try:
            encoded_path = encode_watch_path(path)
        except InvalidRequest as error:
            raise StoreError.of(Operation.WATCH, path, error.errno) from error
        watch = Watch(self._link, path)
        with self._link.subscribe(watch) as token:
            parts = (encoded_path, token.encode() + b"\0")
            request = self._link.post(Operation.WATCH, parts, path)
            try:
                await self._link.wait(request)
                yield watch
            finally:
                watch.end()
                if request.errno is None:
                    self._post_unless_closed(Operation.UNWATCH, parts)

    async def domain_path(self, domid: int) -> str:
        """``/local/domain/<domid>``, as the store has it."""
        payload = await self._link.request(Operation.GET_DOMAIN_PATH, (b"%d\0" % domid,))
        return decode_text(payload.rstrip(b"\0"))

    async def is_introduced(self, domid: int) -> bool:
        """The domain exists, as far as the store was told."""
        payload = await self._link.request(Operation.IS_DOMAIN_INTRODUCED, (b"%d\0" % domid,))
        return payload.startswith(b"T")

    async def _start_transaction(self) -> int:
        request = self._link.post(Operation.TRANSACTION_START, (b"\0",))
        try:
            return decode_number(await self._link.wait(request))
        except trio.Cancelled:
            self._link.abandon(
                request, lambda payload: self._abort_transaction(decode_number(payload))
            )
            raise
        except WireError as error:
            raise StoreError.of(request.operation, None, errno.EIO) from error

    def _abort_transaction(self, tx_id: int) -> None:
        self._post_unless_closed(Operation.TRANSACTION_END, (b"F\0",), tx_id)

    async def _commit_transaction(self, tx_id: int) -> bool:
        """False if another client got in between.

        A cancelled task waits a moment to learn the outcome.
        """
        request = self._link.post(Operation.TRANSACTION_END, (b"T\0",), tx_id=tx_id)
        try:
            try:
                await self._link.wait(request)
            except trio.Cancelled:
                with trio.move_on_after(COMMIT_SECONDS) as scope:
                    scope.shield = True
                    await self._link.wait(request)
                    return True
                raise
        except StoreError as error:
            if error.errno != errno.EAGAIN:
                raise
            return False
        return True

    def _post_unless_closed(
        self, operation: Operation, parts: Sequence[bytes], tx_id: int = 0
    ) -> None:
        """Nobody waits for the reply, so that a store that is stuck does not hold up who leaves.

        The order is kept, and the end of the connection undoes what was not reached.
        """
        with suppress(StoreClosed):
            self._link.post(operation, parts, tx_id=tx_id)
