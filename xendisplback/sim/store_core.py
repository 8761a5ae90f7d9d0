# SPDX-License-Identifier: GPL-2.0-or-later
"""XenStore without its transport: sessions of domains, watches, transactions, known domains. Thread-safe.

The daemon reaches it by :mod:`xendisplback.sim.store_server`; guests and the toolstack, which live in this
process, by a :class:`Session` of their own. ``deliver`` of a session is called with every watch event, from
the thread that made the change and under the core's lock: it must only hand the event on.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

from xendisplback.sim.store_tree import (
    DOM0,
    READ,
    Change,
    Nodes,
    Permission,
    Permissions,
    StoreError,
    Transaction,
    Tree,
)

Deliver = Callable[[str, str], None]
MAX_PATH = 3072
"""XENSTORE_ABS_PATH_MAX of xen/io/xs_wire.h."""
SPECIAL_WATCHES = ("@introduceDomain", "@releaseDomain")


class StoreCore:
    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.tree = Tree()
        self.domains: set[int] = {DOM0}
        self.sessions: list[Session] = []
        self.next_transaction = 1
        for path in ("/tool", "/local/domain", "/libxl", "/vm"):
            self.tree.mkdir(DOM0, path)
        self.tree.write(DOM0, "/local/domain/0/domid", b"0")
        self.tree.write(DOM0, "/local/domain/0/name", b"Domain-0")
        self.tree.changes.clear()

    def session(self, domid: int, deliver: Deliver) -> Session:
        with self.lock:
            session = Session(self, domid, deliver)
            self.sessions.append(session)
            return session

    def introduce(self, domid: int) -> None:
        with self.lock:
            self.domains.add(domid)
            self._fire(Change("@introduceDomain", None, False))

    def release(self, domid: int) -> None:
        """The domain is gone: its sessions end, its nodes go, @releaseDomain tells."""
        with self.lock:
            self.domains.discard(domid)
            for session in [session for session in self.sessions if session.domid == domid]:
                session.close()
            self.tree.remove_owned(domid)
            self.fire_changes()
            self._fire(Change("@releaseDomain", None, False))

    def fire_changes(self) -> None:
        changes, self.tree.changes = self.tree.changes, []
        for change in changes:
            self._fire(change)

    def _fire(self, change: Change) -> None:
        for session in list(self.sessions):
            session.fire(change)


class Session:
    """One connection of ``domid``. Paths that don't begin with / or @ are relative to the domain's own."""

    def __init__(self, core: StoreCore, domid: int, deliver: Deliver) -> None:
        self.domid = domid
        self.closed = False
        self._core = core
        self._deliver = deliver
        self._home = f"/local/domain/{domid}"
        self._watches: dict[tuple[str, str], str] = {}
        self._transactions: dict[int, Transaction] = {}

    def close(self) -> None:
        with self._core.lock:
            if not self.closed:
                self.closed = True
                self._watches.clear()
                self._transactions.clear()
                self._core.sessions.remove(self)

    def absolute(self, path: str) -> str:
        """Raises StoreError EINVAL for what is no path."""
        whole = path if path.startswith(("/", "@")) else f"{self._home}/{path}"
        allowed = all(char.isascii() and (char.isalnum() or char in "-/_@") for char in whole)
        if not allowed or len(whole) > MAX_PATH or "//" in whole:
            raise StoreError(errno.EINVAL)
        if whole != "/" and whole.endswith("/"):
            raise StoreError(errno.EINVAL)
        return whole

    def _nodes(self, transaction: int) -> Nodes:
        if self.closed:
            raise StoreError(errno.EIO)
        if transaction == 0:
            return self._core.tree
        if transaction not in self._transactions:
            raise StoreError(errno.ENOENT)
        return self._transactions[transaction]

    # Requests; each raises StoreError. ``transaction`` is an id from :meth:`start`, 0 for none.

    def read(self, path: str, transaction: int = 0) -> bytes:
        with self._core.lock:
            return self._nodes(transaction).read(self.domid, self.absolute(path)).value

    def directory(self, path: str, transaction: int = 0) -> tuple[tuple[str, ...], int]:
        """The children's names, and the generation of the list."""
        with self._core.lock:
            node = self._nodes(transaction).read(self.domid, self.absolute(path))
            return node.children, node.generation

    def permissions(self, path: str, transaction: int = 0) -> Permissions:
        with self._core.lock:
            return self._nodes(transaction).read(self.domid, self.absolute(path)).permissions

    def write(self, path: str, value: bytes, transaction: int = 0) -> None:
        with self._core.lock:
            self._nodes(transaction).write(self.domid, self.absolute(path), value)
            self._core.fire_changes()

    def mkdir(self, path: str, transaction: int = 0) -> None:
        with self._core.lock:
            self._nodes(transaction).mkdir(self.domid, self.absolute(path))
            self._core.fire_changes()

    def remove(self, path: str, transaction: int = 0) -> None:
        with self._core.lock:
            self._nodes(transaction).remove(self.domid, self.absolute(path))
            self._core.fire_changes()

    def set_permissions(self, path: str, texts: list[str], transaction: int = 0) -> None:
        """``texts`` as on the wire: ``["n0", "r2"]``."""
        permissions = tuple(Permission.parse(text) for text in texts)
        if not permissions:
            raise StoreError(errno.EINVAL)
        with self._core.lock:
            nodes = self._nodes(transaction)
            nodes.set_permissions(self.domid, self.absolute(path), permissions)
            self._core.fire_changes()

    def start(self) -> int:
        with self._core.lock:
            number = self._core.next_transaction
            self._core.next_transaction += 1
            self._transactions[number] = Transaction(self._core.tree)
            return number

    def end(self, transaction: int, *, commit: bool) -> None:
        """Raises StoreError EAGAIN on a conflict; the transaction is gone either way."""
        with self._core.lock:
            ending = self._transactions.pop(transaction, None)
            if ending is None:
                raise StoreError(errno.ENOENT)
            if commit:
                ending.commit()
                self._core.fire_changes()

    def watch(self, path: str, token: str) -> None:
        """Events name paths the way ``path`` does, absolute or relative. :meth:`first_event` belongs to it."""
        with self._core.lock:
            absolute = self.absolute(path)
            if absolute.startswith("@"):
                if absolute not in SPECIAL_WATCHES:
                    raise StoreError(errno.EINVAL)
                if self.domid != DOM0:
                    raise StoreError(errno.EACCES)
            if (path, token) in self._watches:
                raise StoreError(errno.EEXIST)
            self._watches[path, token] = absolute

    def first_event(self, path: str, token: str) -> None:
        """A watch fires once after it is set: XenStore acknowledges first, so it is a call of its own."""
        with self._core.lock:
            if (path, token) in self._watches:
                self._deliver(path, token)

    def unwatch(self, path: str, token: str) -> None:
        with self._core.lock:
            if self._watches.pop((path, token), None) is None:
                raise StoreError(errno.ENOENT)

    def reset_watches(self) -> None:
        with self._core.lock:
            self._watches.clear()
            self._transactions.clear()

    def is_introduced(self, domid: int) -> bool:
        with self._core.lock:
            return domid in self._core.domains

    def introduce(self, domid: int) -> None:
        self._check_privileged()
        self._core.introduce(domid)

    def release(self, domid: int) -> None:
        self._check_privileged()
        self._core.release(domid)

    def _check_privileged(self) -> None:
        if self.domid != DOM0:
            raise StoreError(errno.EACCES)

    def fire(self, change: Change) -> None:
        """Tell this session's watches, but a guest nothing that it may not read. Under the core's lock."""
        if self.domid != DOM0 and change.node and not change.node.allows(self.domid, READ):
            return
        path = change.path
        for (watched, token), absolute in list(self._watches.items()):
            if path == absolute:
                self._deliver(watched, token)
            elif absolute == "/" and not path.startswith("@"):
                self._deliver(path, token)
            elif path.startswith(f"{absolute}/"):
                self._deliver(watched + path[len(absolute) :], token)
            elif change.recursive and absolute.startswith(f"{path}/"):
                self._deliver(watched, token)
