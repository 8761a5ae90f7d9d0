# SPDX-License-Identifier: GPL-2.0-or-later
"""With a guest on a real ring page: unprivileged, and mortal."""

from __future__ import annotations

import pytest
import trio

from xendisplback.xen.store import Permission, XenStore

from .guest import Guest, Refused
from .peer import Peer
from .server import Xenstored

SECONDS = 10
GUEST = 3
BACKEND = "/local/domain/0/backend/vdispl/3/0"
FRONTEND = "/local/domain/3/device/vdispl/0"


async def start_guest(server: Xenstored, store: XenStore, peer: Peer) -> Guest:
    """As libxl leaves it: the backend's nodes are ours, the frontend's the guest's."""
    server.add_domain(GUEST)
    await peer.introduce(GUEST)
    await store.write(f"{BACKEND}/state", "2")
    await store.set_permissions(f"{BACKEND}/state", [Permission(0, "n"), Permission(GUEST, "r")])
    await store.write(f"{FRONTEND}/state", "1")
    for path in (FRONTEND, f"{FRONTEND}/state"):
        await store.set_permissions(path, [Permission(GUEST, "n"), Permission(0, "r")])
    return Guest(server, GUEST)


async def test_a_guest_reads_our_state_and_we_its(
    xenstored: Xenstored, store: XenStore, peer: Peer
) -> None:
    with trio.fail_after(SECONDS):
        with await start_guest(xenstored, store, peer) as guest:
            assert await guest.read(f"{BACKEND}/state") == b"2"
            async with store.watch(f"{FRONTEND}/state") as watch:
                assert await anext(watch) == f"{FRONTEND}/state"
                await guest.write("device/vdispl/0/state", b"3")
                assert await anext(watch) == f"{FRONTEND}/state"
                assert await store.get(f"{FRONTEND}/state") == "3"


async def test_a_guest_may_not_write_our_state(
    xenstored: Xenstored, store: XenStore, peer: Peer
) -> None:
    with trio.fail_after(SECONDS):
        with await start_guest(xenstored, store, peer) as guest:
            with pytest.raises(Refused, match="EACCES"):
                await guest.write(f"{BACKEND}/state", b"4")
            assert await store.get(f"{BACKEND}/state") == "2"


async def test_a_node_that_a_guest_makes_is_the_guests(
    xenstored: Xenstored, store: XenStore, peer: Peer
) -> None:
    with trio.fail_after(SECONDS):
        with await start_guest(xenstored, store, peer) as guest:
            await guest.write(f"{FRONTEND}/0/unique-id", b"HDMI-A-1")
            assert (await store.permissions(f"{FRONTEND}/0/unique-id"))[0].domid == GUEST


async def test_the_death_of_a_guest_is_told(
    xenstored: Xenstored, store: XenStore, peer: Peer
) -> None:
    with trio.fail_after(SECONDS):
        async with store.watch("@introduceDomain") as births:
            assert await anext(births) == "@introduceDomain"
            with await start_guest(xenstored, store, peer):
                assert await anext(births) == "@introduceDomain"
                assert await store.is_introduced(GUEST)
                async with store.watch("@releaseDomain") as deaths:
                    assert await anext(deaths) == "@releaseDomain"
                    xenstored.end_domain(GUEST)
                    assert await anext(deaths) == "@releaseDomain"
                    assert not await store.is_introduced(GUEST)
                    assert await store.get(f"{FRONTEND}/state") is None
