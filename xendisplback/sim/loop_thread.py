# SPDX-License-Identifier: GPL-2.0-or-later
"""A trio loop in a thread of its own, whose system calls can be told from the daemon's by its id."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

import trio

Main = Callable[[trio.TaskStatus[None]], Awaitable[None]]


class LoopThread:
    """Runs ``main(task_status)`` between :meth:`start` and :meth:`stop`; can be started again."""

    def __init__(self, name: str, main: Main) -> None:
        self._name = name
        self._main = main
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope = trio.CancelScope()
        self.native_id = 0

    def start(self) -> None:
        """Returns when ``main`` has called ``started``. Raises what ended it before."""
        self._scope = trio.CancelScope()
        self._ready.clear()
        self._error = None
        self._thread = threading.Thread(target=self._enter, name=self._name, daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Cancels ``main`` and joins the thread. Idempotent. Raises what went wrong in it."""
        self.call_soon(self._scope.cancel)
        self.join()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call ``function`` in the loop; nothing happens if it has ended."""
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(function)

    def join(self) -> None:
        """Until ``main`` has ended by itself. Raises what went wrong in it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
            if self._error is not None:
                raise self._error

    def _enter(self) -> None:
        self.native_id = threading.get_native_id()
        try:
            trio.run(self._run)
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with self._scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._started)
                self._ready.set()

    async def _started(self, *, task_status: trio.TaskStatus[None]) -> None:
        await self._main(task_status)
