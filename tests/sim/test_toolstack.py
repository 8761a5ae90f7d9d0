# SPDX-License-Identifier: GPL-2.0-or-later
"""The simulated toolstack writes and waits as libxl does."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from xendisplback.protocol.xenbus import XenbusState
from xendisplback.sim.host import SimHost
from xendisplback.sim.store_tree import StoreError
from xendisplback.sim.toolstack import ToolstackTimeout

FRONTEND = "/local/domain/1/device/vdispl/0"
BACKEND = "/local/domain/0/backend/vdispl/1/0"
CONNECTORS = [("HDMI-A-1", "800x600")]


async def test_nodes_and_their_owners() -> None:
    with trio.fail_after(10):
        async with SimHost() as host:
            domain = await host.toolstack.create(CONNECTORS, wait=False, start=False)
            store = host.toolstack.store
            expected = {
                f"{BACKEND}/frontend": (FRONTEND, "n0 r1"),
                f"{BACKEND}/frontend-id": ("1", "n0 r1"),
                f"{BACKEND}/online": ("1", "n0 r1"),
                f"{BACKEND}/state": ("1", "n0 r1"),
                f"{FRONTEND}/backend": (BACKEND, "n1 r0"),
                f"{FRONTEND}/backend-id": ("0", "n1 r0"),
                f"{FRONTEND}/state": ("1", "n1 r0"),
                f"{FRONTEND}/be-alloc": ("0", "n0 r1"),
                f"{FRONTEND}/0": ("", "n1 r0"),
                f"{FRONTEND}/0/resolution": ("800x600", "n0 r1"),
                f"{FRONTEND}/0/unique-id": ("HDMI-A-1", "n0 r1"),
            }
            found = {
                path: (store.get(path), " ".join(map(str, store.permissions(path))))
                for path in expected
            }
            assert found == expected
            # The guest owns the directory but not the leaf: it can't write it, but put its own there.
            with pytest.raises(StoreError, match="EACCES"):
                domain.store.write(f"{FRONTEND}/0/unique-id", "HDMI-A-2")
            domain.store.remove(f"{FRONTEND}/0")
            domain.store.write(f"{FRONTEND}/0/unique-id", "HDMI-A-2")
            assert store.permissions(f"{FRONTEND}/0/unique-id")[0].domid == 1


async def test_create_waits_for_init_wait() -> None:
    with trio.fail_after(10):
        async with SimHost() as host:
            host.toolstack.wait_seconds = 0.2
            with pytest.raises(ToolstackTimeout, match=r"'1' after 0\.2 s, not 2"):
                await host.toolstack.create(CONNECTORS)


async def test_destroy_asks_the_backend_to_close_and_removes_everything() -> None:
    with trio.fail_after(10):
        async with SimHost() as host:
            toolstack = host.toolstack
            domain = await toolstack.create(CONNECTORS, wait=False)
            states: list[tuple[str | None, str | None]] = []

            def close() -> None:
                online, state = (toolstack.store.get(f"{BACKEND}/{n}") for n in ("online", "state"))
                states.append((online, state))
                if state == "5":
                    toolstack.store.write(f"{BACKEND}/state", "6")

            with toolstack.store.watch(f"{BACKEND}/state", close):
                await toolstack.destroy(domain)
            assert ("0", "5") in states
            assert toolstack.store.get(BACKEND) is None
            assert toolstack.store.get("/local/domain/1") is None
            assert not domain.alive


async def test_a_backend_that_does_not_close_costs_the_wait_but_not_the_domain() -> None:
    with trio.fail_after(10):
        async with SimHost() as host:
            domain = await host.toolstack.create(CONNECTORS, wait=False)
            host.toolstack.wait_seconds = 0.2
            with pytest.raises(ToolstackTimeout):
                await host.toolstack.destroy(domain)
            assert not domain.alive
            assert host.toolstack.store.get(BACKEND) is None


async def test_death_tells_and_leaves_the_backends_nodes() -> None:
    with trio.fail_after(10):
        async with SimHost() as host:
            domain = await host.toolstack.create(CONNECTORS, wait=False)
            released = 0

            def count() -> None:
                nonlocal released
                released += 1

            with host.toolstack.store.watch("@releaseDomain", count):
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert released == 1, "a watch fires once when it is set"
                domain.die()
                await trio.testing.wait_all_tasks_blocked(0.02)
            assert released == 2
            assert host.toolstack.store.get(f"{BACKEND}/state") == "1"
            assert host.toolstack.store.get(f"{FRONTEND}/state") is None


async def test_a_device_is_attached_to_a_running_guest() -> None:
    with trio.fail_after(10):
        async with SimHost() as host, trio.open_nursery() as nursery:
            store = host.toolstack.store
            domain = await host.toolstack.create(CONNECTORS, wait=False)
            path = "/local/domain/0/backend/vdispl/1/1/state"

            async def backend() -> None:
                while store.get(path) is None:
                    await trio.sleep(0.01)
                store.write(path, "2")

            nursery.start_soon(backend)
            guest = await host.toolstack.attach(domain, [("HDMI-A-2", "1024x768")])
            await guest.wait_state(XenbusState.Initialised)
            assert store.get("/local/domain/1/device/vdispl/1/0/resolution") == "1024x768"
