# SPDX-License-Identifier: GPL-2.0-or-later
"""pyxs's own client, each call in a thread: nothing of ours between it and the store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import trio
from pyxs.client import Client

T = TypeVar("T")


class Peer:
    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    @asynccontextmanager
    async def connect(cls, path: str) -> AsyncGenerator[Peer]:
        client = Client(unix_socket_path=path)
        await trio.to_thread.run_sync(client.connect)
        try:
            yield cls(client)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(client.close)

    async def read(self, path: bytes) -> bytes:
        return await self._call(partial(self._client.read, path))

    async def write(self, path: bytes, value: bytes) -> None:
        await self._call(partial(self._client.write, path, value))

    async def children(self, path: bytes) -> list[bytes]:
        return await self._call(partial(self._client.list, path))

    async def permissions(self, path: bytes) -> list[bytes]:
        return await self._call(partial(self._client.get_perms, path))

    async def set_permissions(self, path: bytes, *permissions: bytes) -> None:
        await self._call(partial(self._client.set_perms, path, [*permissions]))

    async def introduce(self, domid: int) -> None:
        """As libxl does when it has built the domain."""
        await self._call(partial(self._client.introduce_domain, domid, 1, 1))

    async def _call(self, function: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(function)
