# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's life: store, frontends, outputs, and an orderly end.

Start: the frontends are told that we are here (InitWait) before any card is touched, because a toolstack
gives a backend 10 s and a card may take longer. End: every frontend is closed (released, Closed published),
then the outputs are put back as they were found.
"""

from __future__ import annotations

import logging
from pathlib import Path

import trio

from xendisplback.config import Config
from xendisplback.daemon.notify import feed_watchdog, notify
from xendisplback.errors import HostError
from xendisplback.frontend.allocation import Allocator
from xendisplback.frontend.backend import Backend
from xendisplback.frontend.budget import Budgets
from xendisplback.frontend.discovery import Discovery
from xendisplback.frontend.policy import Policy
from xendisplback.host import Host
from xendisplback.kept import Kept
from xendisplback.scanout.outputs import Outputs
from xendisplback.xen.store import XenStore

logger = logging.getLogger(__name__)

STOP_SECONDS = 8.0
"""For all frontends together; below systemd's and libxl's patience (90 s, 10 s)."""

SETTLE_SECONDS = 10.0
"""For taking over all guests of an earlier process together."""


class Service:
    """One daemon on one host. :meth:`run` it once."""

    def __init__(self, config: Config, host: Host) -> None:
        """Raises HostError."""
        self._config = config
        self._host = host
        self._stop = trio.Event()
        self._kept = Kept(host.fd_store())
        self._discovery: Discovery | None = None
        self.outputs = Outputs(host, config, self._kept.cards(), self._kept.routes())

    @property
    def control_socket(self) -> Path:
        return Path(self._config.control_socket)

    @property
    def can_be_taken_over(self) -> bool:
        """Whether a next process gets what it takes to serve the guests on."""
        return self._host.fd_store().available

    def frontends(self) -> list[dict[str, object]]:
        """For the operator: all devices that were found, by domain and device."""
        return self._discovery.describe() if self._discovery is not None else []

    def stop(self) -> None:
        """Ask :meth:`run` to end in an orderly way."""
        self._stop.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop`. Started: every waiting guest was told that we are here.

        Raises HostError (also inside an ExceptionGroup) where the host can't do it: no Xen, or the
        store's connection lost.
        """
        grants = self._host.grant_table()
        try:
            async with self._host.store() as store:
                domid = await _own_domid(store)
                memories = self._kept.memories()
                allocator = Allocator(self._host, grants, self._config.be_alloc, memories)
                backend = Backend(
                    self._host,
                    store,
                    grants,
                    allocator,
                    self.outputs,
                    self._host.fd_store(),
                    Budgets(self._config.budget),
                    Policy(self._config.allow),
                    self._kept,
                )
                discovery = self._discovery = Discovery(domid, backend)
                async with trio.open_nursery() as nursery:
                    await nursery.start(discovery.run)
                    nursery.start_soon(self.outputs.run)
                    nursery.start_soon(feed_watchdog)
                    nursery.start_soon(self._settle, discovery, allocator)
                    await _set_status(store, domid, "ready")
                    notify("READY=1")
                    logger.info("ready")
                    task_status.started()
                    await self._stop.wait()
                    notify("STOPPING=1")
                    await self._close(store, domid, discovery)
                    await trio.to_thread.run_sync(allocator.close)
                    nursery.cancel_scope.cancel()
        finally:
            grants.close()
        logger.info("stopped")

    async def _settle(self, discovery: Discovery, allocator: Allocator) -> None:
        """Task: take what an earlier process left off the screens, once its guests are shown again."""
        with trio.move_on_after(SETTLE_SECONDS):
            await discovery.settled()
        self._kept.close()
        allocator.settle()
        await self.outputs.settle()

    async def reload(self, config: Config) -> None:
        """Use what of ``config`` can change while guests are served. Raises HostError, then nothing changed."""
        await self.outputs.reload(config)

    async def _close(self, store: XenStore, domid: int, discovery: Discovery) -> None:
        with trio.move_on_after(STOP_SECONDS) as scope:
            await _set_status(store, domid, "dead")
            await discovery.stop()
            self.outputs.forget_routes()
        if scope.cancelled_caught:
            logger.error("not every frontend could be closed within %g s", STOP_SECONDS)


async def _own_domid(store: XenStore) -> int:
    untrusted_domid = await store.get("domid")
    if untrusted_domid is None:
        return 0
    if not untrusted_domid.isdecimal():
        raise HostError(f"the node 'domid' holds {untrusted_domid!r}, not a number")
    return int(untrusted_domid)


async def _set_status(store: XenStore, domid: int, status: str) -> None:
    """``drivers/displbe/status``: what xen-troops' guests and scripts wait for."""
    await store.write(f"/local/domain/{domid}/drivers/displbe/status", status)
