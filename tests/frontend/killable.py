# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon on the simulated host that can be killed: nothing of it is cleaned up, its files are closed.

Its Python stops in the middle, in a thread that never ends, and its threads in C end. What the kernel would do at
its end is done then.
"""

from __future__ import annotations

import threading

import pytest
import trio

from xendisplback.config import Config
from xendisplback.daemon.service import Service
from xendisplback.frontend import connection
from xendisplback.frontend.channel import Channel
from xendisplback.scanout import controller
from xendisplback.scanout.flips import CardFlips
from xendisplback.sim.host import SimHost
from xendisplback.sim.loop_thread import LoopThread
from xendisplback.sim.store_tree import DOM0


class KillableDaemon:
    def __init__(
        self, host: SimHost, config: Config | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.service = Service(config or Config(), host)
        self._host = host
        self._channels: set[Channel] = set()
        self._thread = LoopThread("daemon", self._run)
        channels = self._channels

        class Recorded(Channel):
            def start(self) -> None:
                super().start()
                channels.add(self)

            def close(self) -> None:
                channels.discard(self)
                super().close()

        cards = self._cards = set[CardFlips]()

        class RecordedFlips(CardFlips):
            def __init__(self, fd: int, path: str) -> None:
                super().__init__(fd, path)
                cards.add(self)

            def close(self) -> None:
                cards.discard(self)
                super().close()

        monkeypatch.setattr(connection, "Channel", Recorded)
        monkeypatch.setattr(controller, "CardFlips", RecordedFlips)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        await self.service.run(task_status=task_status)

    async def start(self) -> None:
        await trio.to_thread.run_sync(self._thread.start)

    async def stop(self) -> None:
        """An orderly end."""
        self._thread.call_soon(self.service.stop)
        await trio.to_thread.run_sync(self._thread.join)
        self._host.fds.daemon_ended()

    async def kill(self) -> None:
        frozen = threading.Event()

        def freeze() -> None:
            frozen.set()
            threading.Event().wait()

        self._thread.call_soon(freeze)
        await trio.to_thread.run_sync(frozen.wait)
        # What it has given to other threads is done, as what a system call was at is.
        await trio.sleep(0.1)
        for channel in self._channels:
            await trio.to_thread.run_sync(channel.stop)
        for card in list(self._cards):
            await trio.to_thread.run_sync(card.close)
        self._host.channels.end_of(DOM0)
        self._host.memory.kill()
        self._host.fds.daemon_ended()
