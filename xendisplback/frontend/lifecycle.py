# SPDX-License-Identifier: GPL-2.0-or-later
"""One device from its discovery to its end: performs what the table in ``protocol/xenbus.py`` decides."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from xendisplback.errors import FrontendError, HostError, leaves
from xendisplback.frontend.backend import Backend
from xendisplback.frontend.connection import Connection, connect
from xendisplback.frontend.device import Device, GuestLines, GuestLog, escape
from xendisplback.frontend.grants import DomainGrants
from xendisplback.frontend.journal import Journal, JournalMismatch
from xendisplback.frontend.nodes import read_identity, read_nodes
from xendisplback.kept import guest_name
from xendisplback.protocol.nodes import parse_state
from xendisplback.protocol.xenbus import (
    DWELL_SECONDS,
    FAILED,
    NOT_TAKEN_OVER,
    REFUSED,
    SHORT,
    TIMEOUTS,
    Action,
    Observed,
    Phase,
    Step,
    XenbusState,
    decide,
)
from xendisplback.xen.store import Transaction

logger = logging.getLogger(__name__)

VERSIONS = "1,2"
"""The displif versions that we speak; libxl does not write the node."""

_STOP = Step((Action.RELEASE, Action.CLOSED), Phase.ENDED)


class Frontend:
    """``run`` it in a task; ``poke`` it whenever one of its nodes may have changed."""

    def __init__(self, device: Device, backend: Backend) -> None:
        self.device = device
        self.advertised = trio.Event()
        """The first step was taken: the toolstack and the guest know that we are here."""
        self.settled = trio.Event()
        """What an earlier process left of it is taken over, or given up."""
        self._journal = self._earlier_journal(backend)
        self._backend = backend
        self._store = backend.store
        self._budget = backend.budgets.of(device.domid)
        self._grants = DomainGrants(backend.grants, device.domid, self._budget)
        self._lines = GuestLines()
        self._log = GuestLog(logger, str(device), self._lines)
        self._domain_name: str | None = None
        self._connection: Connection | None = None
        """Once it is served."""
        self._published = XenbusState.Unknown
        self._phase = Phase.NEW
        self._phase_since = 0.0
        self._handled: tuple[Phase, XenbusState] | None = None
        self._seen = XenbusState.Unknown
        """The frontend's state when it was last looked at."""
        self._poked = trio.Event()
        self._forced: Step | None = None
        self._connection_scope: trio.CancelScope | None = None
        self._connection_ended = trio.Event()

    def _earlier_journal(self, backend: Backend) -> Journal | None:
        fd = backend.kept.guest(self.device.domid, self.device.index)
        if fd is not None:
            try:
                return Journal(fd)
            except (JournalMismatch, HostError) as error:
                logger.warning("%s: can't be taken over: %s", self.device, error)
        self.settled.set()
        return None

    def _settle(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        self.settled.set()

    def poke(self) -> None:
        self._poked.set()

    def stop(self) -> None:
        """Release, publish Closed, and end."""
        self._force(_STOP)

    def describe(self) -> dict[str, object]:
        """For the operator; ``version``, ``connector`` and ``buffer`` only while it is served."""
        return {
            "domid": self.device.domid,
            "device": self.device.index,
            "domain": self._domain_name,
            "backend-state": self._published.name,
            "frontend-state": self._seen.name,
            "phase": self._phase.name.lower(),
            "faults": self._lines.faults,
            "budget": self._budget.describe(),
            **(self._connection.describe() if self._connection is not None else {}),
        }

    def _force(self, step: Step) -> None:
        if self._forced is not _STOP:
            self._forced = step
        self.poke()

    async def run(self) -> None:
        """Until the device is gone or :meth:`stop`. When cancelled it releases, and publishes nothing."""
        self._domain_name = (await read_identity(self._store, self.device)).name
        self._log.info("found (domain %s)", escape(self._domain_name or "without a name"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_frontend)
            while self._phase is not Phase.ENDED:
                step = await self._next_step()
                if step is not None:
                    await self._perform(step, nursery)
                    self.advertised.set()
            nursery.cancel_scope.cancel()
        self._log.info("ended")

    async def _watch_frontend(self) -> None:
        async with self._store.watch(f"{self.device.frontend_path}/state") as watch:
            async for _ in watch:
                self.poke()

    async def _next_step(self) -> Step | None:
        """The step to take now, after waiting for a reason to look again."""
        self._poked = trio.Event()
        step = self._take_forced() or await self._step_for_states()
        if step is not None:
            return step
        seconds, timeout_step = TIMEOUTS.get(self._phase, (float("inf"), None))
        with trio.move_on_at(self._phase_since + seconds):
            await self._poked.wait()
            # A guest that writes its state without end is looked at less often, and always once more.
            await trio.sleep(self._budget.store_events.take())
            return None
        return timeout_step

    def _take_forced(self) -> Step | None:
        step, self._forced = self._forced, None
        return step

    async def _step_for_states(self) -> Step | None:
        seen = await self._observe()
        self._seen = seen.frontend
        step = decide(self._phase, seen)
        key = (self._phase, seen.frontend)
        if step is not None and step.phase is not Phase.ENDED and key == self._handled:
            return None
        self._handled = key
        return step

    async def _observe(self) -> Observed:
        store, device = self._store, self.device
        untrusted_state = await store.get(f"{device.frontend_path}/state")
        state = parse_state(untrusted_state)
        own_state = await store.get(f"{device.backend_path}/state")
        if state is None:
            self._log.guest_fault(
                f"state is {escape(untrusted_state or '')}, not a number from 0 to 8"
            )
        return Observed(
            frontend=XenbusState.Unknown if state is None else state,
            online=await store.get(f"{device.backend_path}/online") == "1",
            backend_exists=own_state is not None,
            domain_exists=await store.is_introduced(device.domid),
            left_connected=self._journal is not None
            and own_state == str(int(XenbusState.Connected)),
        )

    async def _perform(self, step: Step, nursery: trio.Nursery) -> None:
        for action in step.actions:
            match action:
                case Action.RELEASE:
                    await self._release()
                case Action.CONNECT:
                    # libxl waits for exactly InitWait: a guest that answers at once must not hide it.
                    await trio.sleep_until(self._phase_since + DWELL_SECONDS)
                    self._connect(nursery, None)
                case Action.TAKE_OVER:
                    self._connect(nursery, self._journal)
                case Action.INIT_WAIT | Action.CLOSING | Action.CLOSED:
                    await self._publish(XenbusState(action.value))
        if Action.TAKE_OVER not in step.actions and not self.settled.is_set():
            self._backend.fd_store.drop(guest_name(self.device.domid, self.device.index))
            self._settle()
        if Action.INIT_WAIT in step.actions:
            # It serves a frontend that was at Initialising; one that comes there later needs another.
            served = self._seen is XenbusState.Initialising
            self._handled = (Phase.WAITING, self._seen) if served else None
        self._phase = step.phase
        self._phase_since = trio.current_time()

    async def _publish(self, state: XenbusState) -> None:
        """Write our state, but never recreate a node that the toolstack removed."""
        path = self.device.backend_path

        async def body(tx: Transaction) -> None:
            if await tx.get(f"{path}/state") is not None:
                if state is XenbusState.InitWait:
                    await tx.write(f"{path}/versions", VERSIONS)
                await tx.write(f"{path}/state", str(int(state)))

        await self._store.transact(body)
        self._published = state
        self._log.debug("published %s", state.name)

    # The connection

    def _connect(self, nursery: trio.Nursery, earlier: Journal | None) -> None:
        self._connection_scope = trio.CancelScope()
        self._connection_ended = trio.Event()
        nursery.start_soon(
            self._run_connection, self._connection_scope, self._connection_ended, earlier
        )

    async def _release(self) -> None:
        if self._forced is not _STOP:
            # A connection that failed while the guest left needs no step of its own any more.
            self._forced = None
        if self._connection_scope is not None:
            self._connection_scope.cancel()
            await self._connection_ended.wait()
            self._connection_scope = None

    async def _run_connection(
        self, scope: trio.CancelScope, ended: trio.Event, earlier: Journal | None
    ) -> None:
        """Task: connect and serve. What ends it ends this connection, nothing else."""
        served, not_served = False, REFUSED

        async def on_connected(connection: Connection) -> None:
            nonlocal served
            if earlier is None:
                await self._publish(XenbusState.Connected)
            served = True
            if earlier is not None:
                # An earlier process has published it.
                self._published = XenbusState.Connected
            self._log.info("connected" if earlier is None else "taken over, as it was")
            self.settled.set()
            self._connection = connection
            try:
                await connection.serve()
            finally:
                # What it could be asked for is freed soon.
                self._connection = None

        try:
            with scope:
                not_served = await self._guard(earlier, on_connected)
        finally:
            self._settle()
            ended.set()
        if not scope.cancelled_caught:
            self._force(FAILED if served else not_served if earlier is None else NOT_TAKEN_OVER)

    async def _guard(
        self, earlier: Journal | None, on_connected: Callable[[Connection], Awaitable[None]]
    ) -> Step:
        """What is to follow if it was not served at all."""
        not_served = REFUSED
        try:
            domain = await read_identity(self._store, self.device)
            permission = self._backend.policy.permission(domain)
            nodes = await read_nodes(self._store, self.device)
            # What routes call the domain.
            name = domain.name or str(self.device.domid)
            async with connect(
                *(self._backend, self._grants, self.device, name, permission),
                *(nodes, earlier, self._lines),
            ) as connection:
                await on_connected(connection)
        except* JournalMismatch as group:
            for error in leaves(group):
                self._log.warning("not taken over, it has to connect anew: %s", error)
        except* FrontendError as group:
            for error in leaves(group):
                self._log.guest_fault(f"not served: {error}")
        except* HostError as group:
            not_served = SHORT
            for error in leaves(group):
                self._log.error("not served, the host refused: %s", error)
        except* Exception:
            self._log.exception("not served: a fault in xendisplback, please report it")
        return not_served
