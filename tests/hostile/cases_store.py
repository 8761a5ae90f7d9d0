# SPDX-License-Identifier: GPL-2.0-or-later
"""Attacks by XenStore: forged and recreated nodes, others' nodes, states out of order, rings that are none."""

from __future__ import annotations

from contextlib import suppress
from errno import EBUSY

from tests.hostile.attacker import Attacker, config
from tests.hostile.case import End, case
from tests.hostile.cases_rings import NO_GRANT
from tests.hostile.hands import AttackSucceeded, StoreRefused

GARBAGE = "\x1b[2J\x1b]0;owned\x07\n\rstate 4"
STATES = ("1", "3", "4", "6", "5", "7", "99", "", GARBAGE)


@case()
async def store_in_a_storm(attacker: Attacker) -> str:
    """The state is written without a pause, always Connected: the watch is coalesced."""
    return str(await attacker.hands.store_storm(f"{attacker.hands.path}/state", ["4"]))


@case(End.CLOSED)
async def garbage_as_state(attacker: Attacker) -> None:
    """No number from 0 to 8, control characters, nothing: as if it were gone, and the log stays printable."""
    for value in ("9", "-1", "4 ", "04", "", "4" * 400, GARBAGE):
        await attacker.state(value)
        await attacker.hands.sleep(0.05)


@case()
async def states_in_a_storm(attacker: Attacker) -> str:
    """Every state and garbage in turns, without a pause; afterwards it can connect."""
    written = await attacker.hands.store_storm(f"{attacker.hands.path}/state", STATES)
    await attacker.connect()
    return str(written)


@case(End.REFUSED)
async def state_removed(attacker: Attacker) -> None:
    """As good as never written."""
    await attacker.hands.remove(f"{attacker.hands.path}/state")
    await attacker.expect_not_served()
    await attacker.state("0")


async def _removed(attacker: Attacker, path: str) -> None:
    with suppress(StoreRefused):  # There may be none.
        await attacker.hands.remove(path)


@case(End.REFUSED)
async def rings_without_nodes(attacker: Attacker) -> None:
    """Initialised, with nothing published."""
    for index in range(2):
        for leaf in ("req-ring-ref", "req-event-channel", "evt-ring-ref", "evt-event-channel"):
            await _removed(attacker, f"{attacker.hands.path}/{index}/{leaf}")
    await attacker.state("3")


async def _published(attacker: Attacker, **changes: str) -> None:
    await attacker.make_rings()
    await attacker.publish(**changes)


@case(End.REFUSED)
async def ring_of_reference_0(attacker: Attacker) -> None:
    """req-ring-ref 0."""
    await _published(attacker, req_ring_ref="0")


@case(End.REFUSED)
async def ring_of_no_grant(attacker: Attacker) -> None:
    """req-ring-ref that nobody granted."""
    await _published(attacker, req_ring_ref=str(NO_GRANT))


@case(End.REFUSED)
async def ring_reference_beyond_32_bits(attacker: Attacker) -> None:
    """evt-ring-ref 2^32 + 8, and text."""
    await _published(attacker, evt_ring_ref=str((1 << 32) + 8))
    await attacker.expect_not_served()
    await attacker.leave()
    await _published(attacker, evt_ring_ref=GARBAGE)


@case(End.REFUSED)
async def ring_that_is_read_only(attacker: Attacker) -> None:
    """Granted, but not for writing."""
    await attacker.make_rings()
    (page,) = await attacker.hands.grant(1, readonly=True)
    await attacker.publish(req_ring_ref=str(page.ref))


@case(End.REFUSED)
async def port_of_nobody(attacker: Attacker) -> None:
    """An event channel that does not exist."""
    await _published(attacker, req_event_channel="1000")


@case(End.REFUSED)
async def port_used_twice(attacker: Attacker) -> None:
    """The same event channel for requests and events."""
    await attacker.make_rings()
    await attacker.publish(evt_event_channel=str(attacker.channels[0].port))


@case(End.REFUSED)
async def version_of_garbage(attacker: Attacker) -> None:
    """A version that is none, with control characters."""
    version = f"{attacker.hands.path}/version"
    await attacker.hands.write(version, GARBAGE)
    await _published(attacker)
    await attacker.expect_not_served()
    await attacker.hands.write(version, "1")


async def _recreate(attacker: Attacker, index: int, output: str) -> str:
    """A connector's directory deleted and made again by us; who owns the new node."""
    path = f"{attacker.hands.path}/{index}"
    await _removed(attacker, path)
    await attacker.hands.write(f"{path}/resolution", "64x48")
    await attacker.hands.write(f"{path}/unique-id", output)
    owner = await attacker.hands.owner(f"{path}/unique-id")
    if owner != attacker.hands.domid:
        raise AttackSucceeded(f"what domain {attacker.hands.domid} made is owned by {owner}")
    return f"recreated, owned by domain {owner}"


@case(End.REFUSED)
async def connector_added(attacker: Attacker) -> str:
    """A third connector, made by the guest, on an output that it likes: refused by its owner."""
    seen = await _recreate(attacker, 2, attacker.hands.neighbours_output)
    await _published(attacker)
    await attacker.expect_not_served()
    await attacker.hands.remove(f"{attacker.hands.path}/2")
    return seen


@case()
async def output_of_another_guest(attacker: Attacker) -> None:
    """Connector 1 has the neighbour's output: EBUSY, as long as the neighbour holds it."""
    buffer = await attacker.created()
    frame = attacker.cookie()
    await attacker.expect(0, buffer.attach(frame))
    await attacker.expect(EBUSY, config(frame), channel=1)
    await attacker.expect(0, config(frame), channel=0)


@case()
async def nodes_of_others(attacker: Attacker) -> str:
    """XenStore itself refuses (EACCES) to write our backend's nodes, the neighbour's, dom0's."""
    hands = attacker.hands
    other = f"/local/domain/{hands.neighbour}/device/vdispl/0"
    root = "/local/domain/0/backend/vdispl"
    words = {
        await attacker.refused_by_store(path, "1")
        for path in (
            f"{hands.backend_path}/state",
            f"{hands.backend_path}/online",
            f"{hands.backend_path}/frontend",
            f"{root}/{hands.domid}/7/state",
            f"{root}/{hands.neighbour}/0/state",
            f"{other}/state",
            f"{other}/0/unique-id",
            f"/libxl/{hands.domid}/device/vdispl/0/backend",
            f"{hands.path}/0/unique-id",
            f"{hands.path}/0/resolution",
            f"{hands.path}/be-alloc",
        )
    }
    return " ".join(sorted(words))


@case()
async def backend_node_forged(attacker: Attacker) -> None:
    """Our node "backend" names the neighbour's: nobody believes it, also when we connect anew."""
    path, hands = f"{attacker.hands.path}/backend", attacker.hands
    await hands.write(path, f"/local/domain/0/backend/vdispl/{hands.neighbour}/0")
    await hands.write(f"{attacker.hands.path}/backend-id", str(hands.neighbour))
    await attacker.connect()
    await attacker.expect_served()
    await hands.write(path, hands.backend_path)
    await hands.write(f"{attacker.hands.path}/backend-id", "0")


@case(End.REFUSED)
async def device_removed(attacker: Attacker) -> None:
    """The guest deletes its own device's state and rings, and comes back with nothing but a state."""
    await attacker.make_rings()
    await attacker.publish()
    if not await attacker.wait_backend("4"):
        raise AttackSucceeded("not served")
    for leaf in ("state", "0/req-ring-ref", "1/evt-ring-ref"):
        await attacker.hands.remove(f"{attacker.hands.path}/{leaf}")
    if not await attacker.wait_backend("2"):
        raise AttackSucceeded("connected on, without a frontend")
    await attacker.state("3")


@case(End.REFUSED)
async def connector_recreated(attacker: Attacker) -> str:
    """The guest's own connector deleted and made again, with the neighbour's output. Last, because it stays so."""
    seen = await _recreate(attacker, 0, attacker.hands.neighbours_output)
    await _published(attacker)
    return seen
