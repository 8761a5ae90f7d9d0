# SPDX-License-Identifier: GPL-2.0-or-later
"""The real daemon on a simulated host, in a thread and loop of its own: its guests can't slow its loop down
but by the interpreter's lock.
"""

from __future__ import annotations

import trio

from xendisplback.config import Config
from xendisplback.daemon.service import Service
from xendisplback.host import Host
from xendisplback.sim.loop_thread import LoopThread


class DaemonThread:
    def __init__(self, host: Host, config: Config | None = None) -> None:
        self.service = Service(config or Config(), host)
        self._thread = LoopThread("daemon", self._run)

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        await self.service.run(task_status=task_status)

    @property
    def thread_id(self) -> int:
        """Of its loop, once started; flips are made by other threads."""
        return self._thread.native_id

    def start(self) -> None:
        """Returns when the daemon is ready. Raises what ended it before. Blocking."""
        self._thread.start()

    def stop(self) -> None:
        """An orderly end, as after SIGTERM. Raises what went wrong. Blocking."""
        self._thread.call_soon(self.service.stop)
        self._thread.join()
