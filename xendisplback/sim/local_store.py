# SPDX-License-Identifier: GPL-2.0-or-later
"""XenStore for those who live in this process: guests and the toolstack. Plain calls, watches into their loop."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import TypeVar

import trio

from xendisplback.sim.store_core import Session, StoreCore
from xendisplback.sim.store_tree import Permissions, StoreError

T = TypeVar("T")


class Nodes:
    """Reading and writing, in a transaction or not. Everything raises StoreError."""

    def __init__(self, session: Session, transaction: int = 0) -> None:
        self._session = session
        self._transaction = transaction

    def get(self, path: str) -> str | None:
        """None: there is no such node."""
        try:
            return self._session.read(path, self._transaction).decode("latin-1")
        except StoreError as error:
            if error.errno == errno.ENOENT:
                return None
            raise

    def write(self, path: str, value: str | bytes) -> None:
        data = value if isinstance(value, bytes) else value.encode("latin-1")
        self._session.write(path, data, self._transaction)

    def mkdir(self, path: str) -> None:
        self._session.mkdir(path, self._transaction)

    def remove(self, path: str) -> None:
        """Silent where there is nothing to remove."""
        try:
            self._session.remove(path, self._transaction)
        except StoreError as error:
            if error.errno != errno.ENOENT:
                raise

    def directory(self, path: str) -> list[str]:
        return list(self._session.directory(path, self._transaction)[0])

    def permissions(self, path: str) -> Permissions:
        return self._session.permissions(path, self._transaction)

    def set_permissions(self, path: str, *texts: str) -> None:
        """``texts`` as on the wire: ``"n0", "r2"``."""
        self._session.set_permissions(path, list(texts), self._transaction)


class LocalStore(Nodes):
    """Made in the loop that its watches call back into."""

    def __init__(self, core: StoreCore, domid: int) -> None:
        self._loop = trio.lowlevel.current_trio_token()
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._tokens = itertools.count()
        self._own = core.session(domid, self._deliver)
        super().__init__(self._own)

    def _deliver(self, path: str, token: str) -> None:
        with suppress(trio.RunFinishedError):
            self._loop.run_sync_soon(self._call_back, token)

    def _call_back(self, token: str) -> None:
        # An event may have been on its way when the watch or the domain ended.
        callback = self._callbacks.get(token)
        if callback is not None and not self._own.closed:
            callback()

    def transact(self, body: Callable[[Nodes], T]) -> T:
        """What ``body`` returns; it runs again as long as somebody got in between."""
        while True:
            transaction = self._own.start()
            try:
                result = body(Nodes(self._own, transaction))
            except BaseException:
                self._own.end(transaction, commit=False)
                raise
            try:
                self._own.end(transaction, commit=True)
            except StoreError as error:
                if error.errno != errno.EAGAIN:
                    raise
            else:
                return result

    @contextmanager
    def watch(self, path: str, callback: Callable[[], None]) -> Generator[None, None, None]:
        """Call ``callback`` soon, and whenever ``path`` or what is below it changes."""
        token = f"local-{next(self._tokens)}"
        self._callbacks[token] = callback
        self._own.watch(path, token)
        self._own.first_event(path, token)
        try:
            yield
        finally:
            del self._callbacks[token]
            if not self._own.closed:
                self._own.unwatch(path, token)

    def introduce(self, domid: int) -> None:
        self._own.introduce(domid)

    def release(self, domid: int) -> None:
        self._own.release(domid)

    def close(self) -> None:
        self._own.close()
