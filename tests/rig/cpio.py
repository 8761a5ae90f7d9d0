# SPDX-License-Identifier: GPL-2.0-or-later
"""Archives as the kernel unpacks them at start ("newc"), written without mounts or device nodes on disk."""

from __future__ import annotations

import gzip
import stat
from pathlib import Path


class Cpio:
    """Collects entries by their path from the root; parents are made as needed."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._known = {""}
        self._inode = 0

    def file(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, content)

    def copy(self, source: Path, name: str) -> None:
        self.file(name, source.read_bytes(), mode=stat.S_IMODE(source.stat().st_mode))

    def link(self, name: str, target: str) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def directory(self, name: str) -> None:
        self._parents(f"{name}/")

    def character_device(self, name: str, major: int, minor: int) -> None:
        self._parents(name)
        self._entry(name, stat.S_IFCHR | 0o600, b"", device=(major, minor))

    def write(self, path: Path) -> None:
        self._entry("TRAILER!!!", 0, b"")
        path.write_bytes(gzip.compress(bytes(self._data), 1))

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def _parents(self, name: str) -> None:
        parts = name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            parent = "/".join(parts[:count])
            if parent not in self._known:
                self._entry(parent, stat.S_IFDIR | 0o755, b"")

    def _entry(
        self, name: str, mode: int, content: bytes, device: tuple[int, int] = (0, 0)
    ) -> None:
        self._known.add(name)
        self._inode += 1
        path = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields)
        self._data += path
        self._pad()
        self._data += content
        self._pad()

    def _pad(self) -> None:
        self._data += bytes(-len(self._data) % 4)
