# SPDX-License-Identifier: GPL-2.0-or-later
"""XenStore's tree: nodes, permissions, transactions. No I/O, no lock; as C xenstored 4.17 behaves.

A node carries the generation of its last change. A transaction remembers the generation of each node it
touched, the parent included where it made or removed a child, and can't be committed once one of them changed.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

DOM0: Final = 0
READ, WRITE = "r", "w"


class StoreError(Exception):
    """A request is answered with XS_ERROR and the name of ``errno``."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.errno = number


@dataclass(frozen=True, slots=True)
class Permission:
    """One entry of a node's list. The first is the owner's, and its ``access`` everyone else's."""

    access: str
    """``n``, ``r``, ``w`` or ``b``."""
    domid: int

    @classmethod
    def parse(cls, text: str) -> Permission:
        """Raises StoreError EINVAL."""
        if text[:1] not in ("n", "r", "w", "b") or not text[1:].isdecimal():
            raise StoreError(errno.EINVAL)
        return cls(text[0], int(text[1:]))

    def allows(self, wanted: str) -> bool:
        return self.access == "b" or self.access == wanted

    def __str__(self) -> str:
        return f"{self.access}{self.domid}"


Permissions = tuple[Permission, ...]


@dataclass(frozen=True, slots=True)
class Node:
    value: bytes
    permissions: Permissions
    children: tuple[str, ...] = ()
    generation: int = 0

    @property
    def owner(self) -> int:
        return self.permissions[0].domid

    def allows(self, domid: int, wanted: str) -> bool:
        if domid in (DOM0, self.owner):
            return True
        for permission in self.permissions[1:]:
            if permission.domid == domid:
                return permission.allows(wanted)
        return self.permissions[0].allows(wanted)


def parent_of(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def child_path(path: str, name: str) -> str:
    return f"/{name}" if path == "/" else f"{path}/{name}"


@dataclass(frozen=True, slots=True)
class Change:
    path: str
    node: Node | None
    """As it is now, or was: who may read it may be told."""
    recursive: bool


class Nodes(ABC):
    """The nodes as one sees them: the tree itself, or a transaction's view of it."""

    @abstractmethod
    def get(self, path: str) -> Node | None: ...

    @abstractmethod
    def put(self, path: str, node: Node | None) -> None:
        """None removes."""

    changes: list[Change]
    """For watchers to see, in order."""

    def changed(self, path: str, *, recursive: bool = False) -> None:
        """``path`` was changed, or is about to be removed with all below it: ``recursive``."""
        self.changes.append(Change(path, self.get(path), recursive))

    # What requests do

    def read(self, domid: int, path: str) -> Node:
        """Raises StoreError ENOENT, EACCES."""
        node = self.get(path)
        if node is None:
            self._check_hidden(domid, path)
            raise StoreError(errno.ENOENT)
        if not node.allows(domid, READ):
            raise StoreError(errno.EACCES)
        return node

    def _check_hidden(self, domid: int, path: str) -> None:
        """Who can't read the nearest node above may not learn that ``path`` is not there."""
        while (node := self.get(path := parent_of(path))) is None:
            pass
        if not node.allows(domid, READ) and not node.allows(domid, WRITE):
            raise StoreError(errno.EACCES)

    def write(self, domid: int, path: str, value: bytes) -> None:
        """Raises StoreError EACCES."""
        node = self.get(path)
        if node is None:
            self._create(domid, path, value)
        elif not node.allows(domid, WRITE):
            raise StoreError(errno.EACCES)
        else:
            self.put(path, replace(node, value=value))
        self.changed(path)

    def mkdir(self, domid: int, path: str) -> None:
        """Raises StoreError EACCES."""
        if self.get(path) is None:
            self._create(domid, path, b"")
            self.changed(path)

    def _create(self, domid: int, path: str, value: bytes) -> None:
        """``path`` and what is missing above it; permissions are inherited, ownership only from dom0's hand."""
        parent_path = parent_of(path)
        parent = self.get(parent_path)
        if parent is None:
            self._create(domid, parent_path, b"")
            parent = self.get(parent_path)
            assert parent is not None
        elif not parent.allows(domid, WRITE):
            raise StoreError(errno.EACCES)
        permissions = parent.permissions
        if domid != DOM0:
            permissions = (replace(permissions[0], domid=domid), *permissions[1:])
        self.put(path, Node(value, permissions))
        name = path.rpartition("/")[2]
        self.put(parent_path, replace(parent, children=(*parent.children, name)))

    def remove(self, domid: int, path: str) -> None:
        """With all below it. Raises StoreError ENOENT, EACCES, EINVAL for the root."""
        if path == "/":
            raise StoreError(errno.EINVAL)
        node, parent = self.get(path), self.get(parent_of(path))
        if node is None or parent is None:
            if parent is None:
                raise StoreError(errno.ENOENT)
            return
        if not node.allows(domid, WRITE):
            raise StoreError(errno.EACCES)
        name = path.rpartition("/")[2]
        children = tuple(child for child in parent.children if child != name)
        self.changed(path, recursive=True)
        for below in list(self.walk(path)):
            self.put(below, None)
        self.put(parent_of(path), replace(parent, children=children))

    def walk(self, path: str) -> Iterator[str]:
        """``path`` and every path below it."""
        node = self.get(path)
        if node is not None:
            yield path
            for name in node.children:
                yield from self.walk(child_path(path, name))

    def set_permissions(self, domid: int, path: str, permissions: Permissions) -> None:
        """Raises StoreError ENOENT, EACCES, and EPERM for a guest that gives its node away."""
        node = self.read(domid, path)
        if domid != DOM0:
            if node.owner != domid:
                raise StoreError(errno.EACCES)
            if permissions[0].domid != domid:
                raise StoreError(errno.EPERM)
        self.put(path, replace(node, permissions=permissions))
        self.changed(path)


class Tree(Nodes):
    def __init__(self) -> None:
        self._generation = 0
        self._nodes = {"/": Node(b"", (Permission("n", DOM0),))}
        self.changes = []

    def get(self, path: str) -> Node | None:
        return self._nodes.get(path)

    def put(self, path: str, node: Node | None) -> None:
        self._generation += 1
        if node is None:
            del self._nodes[path]
        else:
            self._nodes[path] = replace(node, generation=self._generation)

    def remove_owned(self, domid: int) -> None:
        """A domain is gone: its nodes go too."""
        for path in [path for path, node in self._nodes.items() if node.owner == domid]:
            if path in self._nodes:
                self.remove(DOM0, path)


class Transaction(Nodes):
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._seen: dict[str, int | None] = {}
        self._view: dict[str, Node | None] = {}
        self.changes = []

    def get(self, path: str) -> Node | None:
        if path not in self._view:
            node = self._tree.get(path)
            self._seen[path] = None if node is None else node.generation
            self._view[path] = node
        return self._view[path]

    def put(self, path: str, node: Node | None) -> None:
        self.get(path)
        self._view[path] = node

    def commit(self) -> None:
        """Raises StoreError EAGAIN where another one changed what this one saw."""
        for path, generation in self._seen.items():
            node = self._tree.get(path)
            if (None if node is None else node.generation) != generation:
                raise StoreError(errno.EAGAIN)
        self._tree.changes += self.changes
        for path, node in self._view.items():
            if node is not self._tree.get(path):
                self._tree.put(path, node)
