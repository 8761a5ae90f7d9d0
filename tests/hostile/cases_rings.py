# SPDX-License-Identifier: GPL-2.0-or-later
"""Attacks on what is shared: control ring, event page, doorbells; and the requests that come in floods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from errno import EBUSY, EEXIST, EINVAL, ENOENT, EOPNOTSUPP

from tests.hostile.attacker import Attacker, config
from tests.hostile.case import End, case
from tests.hostile.hands import AttackSucceeded
from xendisplback.protocol.displif import DbufDestroy, FbDetach, PgFlip, encode_request
from xendisplback.protocol.ring import (
    EVENT_SLOTS,
    IN_CONS,
    IN_PROD,
    REQ_EVENT,
    REQ_PROD,
    RING_SLOTS,
    RSP_EVENT,
    RSP_PROD,
    SLOTS_AT,
)

HUGE = 0xFFFF_F000
# Where a request has them, bytes from the slot's beginning.
BUFFER_SZ_AT = 28
OPERATION_AT = 0
# Grant references that nobody made.
NO_GRANT = 0x0FFF_FFFF


def only(seen: Mapping[int, int], *allowed: int) -> str:
    """For people. Raises AttackSucceeded: an answer that none should get, or none at all."""
    if not seen:
        raise AttackSucceeded("nothing was answered")
    if wrong := {number: count for number, count in seen.items() if number not in allowed}:
        raise AttackSucceeded(f"answered {wrong}, not one of {allowed}")
    return ", ".join(f"{count} answered {number}" for number, count in sorted(seen.items()))


@case(End.CLOSED)
async def ring_more_requests_than_slots(attacker: Attacker) -> None:
    """req_prod 33 ahead."""
    await attacker.channels[0].publish(RING_SLOTS + 1)


@case(End.CLOSED)
async def ring_producer_goes_back(attacker: Attacker) -> None:
    """req_prod one behind what was taken."""
    await attacker.expect(EOPNOTSUPP, bytes(64))
    await attacker.channels[0].publish(0)


@case(End.CLOSED)
async def ring_producer_far_away(attacker: Attacker) -> None:
    """req_prod 2^31, on the second connector's ring."""
    await attacker.channels[1].publish(0x8000_0000)


@case()
async def ring_responses_index_rewritten(attacker: Attacker) -> None:
    """rsp_prod, rsp_event and req_event are overwritten: the backend goes by its own."""
    ring = attacker.channels[0]
    for where in (RSP_PROD, RSP_EVENT, REQ_EVENT):
        await ring.word(ring.requests, where, 0x8000_0000)
    await ring.put(bytes(64))
    await ring.push()
    while await ring.load(ring.requests, RSP_PROD) != 1:
        await attacker.hands.sleep(0.01)
    await ring.resync()


@case()
async def ring_goes_round(attacker: Attacker) -> None:
    """40 requests of no known operation, in a ring of 32."""
    ring = attacker.channels[0]
    for _ in range(8):
        for operation in range(5):
            await ring.put(bytes([0, 0, 0xF0 + operation]).ljust(64, b"\xff"))
        await ring.push()
        for response in await ring.responses(5):
            if response.status != -EOPNOTSUPP:
                raise AttackSucceeded(f"answered {response}")


@case()
async def double_fetch_of_a_request(attacker: Attacker) -> str:
    """buffer_sz changes between right and 4 GiB while requests are read: each is one or the other."""
    ring = attacker.channels[0]
    buffer = await attacker.buffer()
    for number in range(RING_SLOTS):
        good = number % 2
        await ring.put(DbufDestroy(0, buffer.cookie) if good else buffer.create())
    where = SLOTS_AT + BUFFER_SZ_AT
    await attacker.hands.race(ring.requests, where, buffer.create().buffer_sz, HUGE)
    seen = only(await attacker.hands.flood(ring.requests, ring.port), 0, EINVAL, ENOENT)
    await ring.resync()
    return seen


@case()
async def double_fetch_of_an_operation(attacker: Attacker) -> str:
    """A request is a flip and a DBUF_DESTROY in turns: it is answered as one of them."""
    ring = attacker.channels[0]
    _, frame = await attacker.picture()
    flip = encode_request(PgFlip(0, frame))
    other = encode_request(DbufDestroy(0, frame))
    for _ in range(RING_SLOTS):
        await ring.put(flip)
    one, two = (int.from_bytes(slot[:4], "little") for slot in (flip, other))
    await attacker.hands.race(ring.requests, SLOTS_AT + OPERATION_AT, one, two)
    seen = only(await attacker.hands.flood(ring.requests, ring.port), 0, EBUSY, ENOENT)
    await ring.resync()
    return seen


@case()
async def double_fetch_of_a_directory(attacker: Attacker) -> str:
    """A directory's entry changes between right and another while buffers are made of it."""
    ring = attacker.channels[0]
    buffer = await attacker.buffer()
    for number in range(RING_SLOTS):
        await ring.put(DbufDestroy(0, buffer.cookie) if number % 2 else buffer.create())
    right = buffer.pages[1].ref
    await attacker.hands.race(buffer.directory, 8, right, buffer.pages[0].ref)
    seen = only(await attacker.hands.flood(ring.requests, ring.port), 0, EINVAL, ENOENT)
    await ring.resync()
    await ring.word(buffer.directory, 8, right)
    return seen


@case(End.CLOSED)
async def double_fetch_of_the_producer(attacker: Attacker) -> None:
    """req_prod changes between good and bad while it is read."""
    ring = attacker.channels[0]
    await attacker.hands.race(ring.requests, REQ_PROD, 0, 0x4000_0000)
    for _ in range(20):
        await attacker.hands.kick(ring.port, 10)
        await attacker.hands.sleep(0.01)
    await ring.publish(0x4000_0000)


@case(End.CLOSED)
async def events_consumer_far_away(attacker: Attacker) -> None:
    """in_cons is more than a page's events behind."""
    ring = attacker.channels[0]
    _, frame = await attacker.picture()
    await ring.word(ring.events, IN_CONS, 0x8000_0000)
    await attacker.expect(0, PgFlip(0, frame))


@case()
async def events_producer_rewritten(attacker: Attacker) -> None:
    """in_prod is overwritten after each event: the next id and slot are the backend's own."""
    ring = attacker.channels[0]
    _, frame = await attacker.picture()
    for number in range(5):
        await attacker.expect(0, PgFlip(0, frame))
        await ring.wait_events(number + 1)
        event = await ring.event(number)
        if (event.event_id, event.fb_cookie) != (number, frame):
            raise AttackSucceeded(f"event {number} is {event}")
        await ring.word(ring.events, IN_CONS, number + 1)
        await ring.word(ring.events, IN_PROD, 0x1234_5678)


@case()
async def events_never_read(attacker: Attacker) -> str:
    """in_cons stays: 63 events are kept, the rest are dropped and use up no id; flips go on."""
    ring = attacker.channels[0]
    _, frame = await attacker.picture()
    done = 0
    while done < EVENT_SLOTS + 5:
        status = await attacker.send(PgFlip(0, frame))
        if status not in (0, EBUSY):
            raise AttackSucceeded(f"PG_FLIP is answered {status}")
        done += status == 0
    await attacker.hands.sleep(attacker.hands.patience)
    await ring.wait_events(EVENT_SLOTS)
    await ring.read_events()
    await attacker.flip(frame)
    event = await ring.event(EVENT_SLOTS)
    if event.event_id != EVENT_SLOTS:
        raise AttackSucceeded(f"after 63 events: {event}")
    return f"{done} flips"


@case()
async def flips_in_a_flood(attacker: Attacker) -> str:
    """32 flips at a time: one is on its way, the others get EBUSY; an event for each that was accepted."""
    ring = attacker.channels[0]
    _, frame = await attacker.picture()
    for number in range(RING_SLOTS):
        await ring.put(PgFlip(number, frame))
    await ring.push()
    accepted = [answer.status for answer in await ring.responses(RING_SLOTS)].count(0)
    await ring.wait_events(accepted)
    await ring.read_events()
    for number in range(RING_SLOTS):
        await ring.put(PgFlip(number, frame))
    seen = only(await attacker.hands.flood(ring.requests, ring.port), 0, EBUSY)
    await ring.resync()
    return seen


@case()
async def requests_in_a_flood(attacker: Attacker) -> str:
    """Unknown ones, which would each be a line of log: a few lines, and the neighbour does not wait."""
    ring = attacker.channels[0]
    for number in range(RING_SLOTS):
        await ring.put(bytes([number, 0, 0xEE, 0x1B, 0x5B, 0x32, 0x4A]).ljust(64, b"\n"))
    seen = only(await attacker.hands.flood(ring.requests, ring.port), EOPNOTSUPP)
    await ring.resync()
    return seen


@case()
async def configurations_in_a_flood(attacker: Attacker) -> str:
    """The output on and off, as fast as it goes."""
    ring = attacker.channels[0]
    _, frame = await attacker.picture()
    for number in range(RING_SLOTS):
        off = replace(config(0), width=0, height=0, bpp=0)
        await ring.put(off if number % 2 else config(frame))
    seen = only(await attacker.hands.flood(ring.requests, ring.port), 0)
    await ring.resync()
    return seen


@case()
async def doorbells_in_a_storm(attacker: Attacker) -> str:
    """50000 notifications of four ports with nothing in the rings."""
    for _ in range(5):
        for ring in attacker.channels:
            await attacker.hands.kick(ring.port, 2500)
            await attacker.hands.kick(ring.event_port, 2500)
    return "50000"


@case()
async def version_2_request_of_a_version_1_frontend(attacker: Attacker) -> None:
    """GET_EDID."""
    await attacker.expect(EOPNOTSUPP, bytes([0, 0, 0x16]).ljust(64, b"\x7f"))


@case()
async def requests_on_the_other_connector(attacker: Attacker) -> None:
    """Buffers are made on one ring, shown and destroyed on the other."""
    buffer = await attacker.buffer()
    frame = attacker.cookie()
    await attacker.expect(0, buffer.create(), channel=1)
    await attacker.expect(EEXIST, buffer.create(), channel=0)
    await attacker.expect(0, buffer.attach(frame), channel=1)
    await attacker.expect(0, config(frame), channel=0)
    await attacker.expect(0, FbDetach(0, frame), channel=1)
    await attacker.expect(ENOENT, PgFlip(0, frame), channel=0)
    await attacker.expect(0, DbufDestroy(0, buffer.cookie), channel=1)
