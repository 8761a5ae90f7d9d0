# SPDX-License-Identifier: GPL-2.0-or-later
"""Attacks by buffers and framebuffers: sizes, directories, cookies, and memory taken back."""

from __future__ import annotations

from dataclasses import replace
from errno import EACCES, EEXIST, EINVAL, ENOENT, ENOSPC

from tests.hostile.attacker import HEIGHT, SIZE, WIDTH, Attacker, Buffer, config
from tests.hostile.case import case
from tests.hostile.cases_rings import NO_GRANT
from tests.hostile.hands import AttackSucceeded
from xendisplback.protocol.directory import REFS_PER_PAGE
from xendisplback.protocol.displif import REQ_ALLOC, DbufDestroy, FbDetach, GetEdid, PgFlip
from xendisplback.protocol.formats import fourcc
from xendisplback.protocol.layout import MAX_PAGES, PAGE

U32 = 0xFFFF_FFFF
# Of a connection: frontend/buffers.py, which the rig's Python can't import.
MAX_BUFFERS = 256
# How often Xen 4.17 lets one page be mapped, as seen: its counters have 8 bits.
XEN_MAPPINGS = 128


async def _refused(attacker: Attacker, *changes: dict[str, int]) -> str:
    """DBUF_CREATE with each of ``changes``: EINVAL."""
    buffer = await attacker.buffer()
    for changed in changes:
        await attacker.expect(EINVAL, buffer.create(**changed))
    return str(len(changes))


@case()
async def sizes_huge_or_overflowing(attacker: Attacker) -> str:
    """DBUF_CREATE whose products leave 32 or 64 bits, or whose size does not hold them: EINVAL."""
    imported = {"width": 0, "height": 0, "bpp": 0}
    return await _refused(
        attacker,
        {"buffer_sz": 0},
        {"buffer_sz": U32},
        {"buffer_sz": SIZE - 1},
        {"buffer_sz": (MAX_PAGES + 1) * PAGE} | imported,
        {"width": U32, "height": U32},
        {"width": 0x10000, "height": 0x10000, "buffer_sz": PAGE},
        {"width": 0x4000_0001, "height": 4, "buffer_sz": 16},
        {"width": 0},
        {"height": 0},
        {"bpp": 0},
        {"bpp": 7},
        {"bpp": U32},
        {"flags": 0x8000_0000},
        {"data_ofs": U32} | imported,
        {"data_ofs": PAGE} | imported,
    )


@case()
async def framebuffers_larger_than_their_buffer(attacker: Attacker) -> None:
    """FB_ATTACH, SET_CONFIG beyond the memory, also by overflow: EINVAL."""
    buffer = await attacker.created()
    frame = attacker.cookie()
    for changes in (
        {"width": WIDTH + 1},
        {"height": HEIGHT + 1},
        {"width": 0},
        {"height": 0},
        {"width": U32, "height": U32},
        {"width": 0x4000_0000, "height": 1},
        {"pixel_format": fourcc("NV12")},
        {"pixel_format": 0x1B5B324A},
        {"pixel_format": 0},
    ):
        await attacker.expect(EINVAL, buffer.attach(frame, **changes))
    await attacker.expect(0, buffer.attach(frame))
    for changes in (
        {"x": 1},
        {"y": HEIGHT},
        {"x": U32},
        {"x": U32 - WIDTH + 1},
        {"width": 0},
        {"fb_cookie": 0},
    ):
        await attacker.expect(EINVAL, config(frame, **changes))


@case()
async def edid_buffer_that_lies(attacker: Attacker) -> None:
    """GET_EDID that claims too little (EINVAL), or 4 GiB: only an EDID's pages are mapped."""
    await attacker.connect(version=2)
    buffer = await attacker.buffer()
    for request in (
        GetEdid(0, 0, buffer.directory.ref),
        GetEdid(0, 32767, buffer.directory.ref),
        GetEdid(0, U32, 0),
    ):
        await attacker.expect(EINVAL, request)
    if not await attacker.send(GetEdid(0, U32, NO_GRANT)):
        raise AttackSucceeded("an EDID into no grant")
    await attacker.expect(0, GetEdid(0, U32, buffer.directory.ref))


# Directories


async def _directory(attacker: Attacker) -> tuple[Buffer, dict[str, int]]:
    """A first page that claims 1023 buffer pages of 2000, and what a request says of it."""
    buffer = await attacker.buffer(1)
    await attacker.hands.series(buffer.directory, 4, NO_GRANT - 5000, REFS_PER_PAGE, 1)
    shape = {"width": 0, "height": 0, "bpp": 0, "buffer_sz": 2000 * PAGE}
    return buffer, shape


@case()
async def directory_that_loops(attacker: Attacker) -> None:
    """The next page is the same one: EINVAL."""
    buffer, shape = await _directory(attacker)
    await attacker.channels[0].word(buffer.directory, 0, buffer.directory.ref)
    await attacker.expect(EINVAL, buffer.create(**shape))


@case()
async def directory_that_ends_early(attacker: Attacker) -> None:
    """No next page though more are needed; the same where the first is none: EINVAL."""
    buffer, shape = await _directory(attacker)
    await attacker.expect(EINVAL, buffer.create(**shape))
    await attacker.expect(EINVAL, buffer.create(gref_directory=0))


@case()
async def directory_with_reference_0(attacker: Attacker) -> None:
    """EINVAL."""
    buffer = await attacker.buffer()
    await attacker.channels[0].word(buffer.directory, 8, 0)
    await attacker.expect(EINVAL, buffer.create())


@case()
async def directory_that_repeats(attacker: Attacker) -> None:
    """The same page twice, or the directory itself as a page of the buffer: EINVAL."""
    buffer = await attacker.buffer()
    for ref in (buffer.pages[0].ref, buffer.directory.ref):
        await attacker.channels[0].word(buffer.directory, 8, ref)
        await attacker.expect(EINVAL, buffer.create())


@case()
async def directory_of_no_grants(attacker: Attacker) -> str:
    """References that are granted to nobody, in the directory or as the directory: an error, nothing mapped."""
    buffer = await attacker.buffer()
    await attacker.channels[0].word(buffer.directory, 8, NO_GRANT)
    first = await attacker.send(buffer.create())
    second = await attacker.send(buffer.create(gref_directory=NO_GRANT))
    if not first or not second:
        raise AttackSucceeded("a buffer of pages that nobody granted")
    return f"errno {first}, {second}"


@case()
async def buffer_of_the_ring_itself(attacker: Attacker) -> None:
    """The ring's own page as a page of a picture: shown like any other memory of the guest."""
    buffer = await attacker.buffer()
    ring = attacker.channels[0]
    await ring.word(buffer.directory, 8, ring.requests.ref)
    frame = attacker.cookie()
    await attacker.expect(0, buffer.create())
    await attacker.expect(0, buffer.attach(frame))
    await attacker.expect(0, config(frame))
    await attacker.flip(frame)


# Cookies


@case()
async def cookie_0(attacker: Attacker) -> None:
    """EINVAL in every request."""
    buffer = await attacker.created()
    for request in (
        buffer.create(dbuf_cookie=0),
        DbufDestroy(0, 0),
        buffer.attach(0),
        buffer.attach(1, dbuf_cookie=0),
        FbDetach(0, 0),
        config(0),
        PgFlip(0, 0),
    ):
        await attacker.expect(EINVAL, request)


@case()
async def cookies_in_use(attacker: Attacker) -> None:
    """EEXIST; free again once the object is gone."""
    buffer, frame = await attacker.picture()
    other = await attacker.buffer()
    await attacker.expect(EEXIST, buffer.create())
    await attacker.expect(EEXIST, other.create(dbuf_cookie=buffer.cookie))
    await attacker.expect(EEXIST, buffer.attach(frame))
    await attacker.expect(0, FbDetach(0, frame))
    await attacker.expect(0, buffer.attach(frame))
    await attacker.expect(0, DbufDestroy(0, buffer.cookie))
    await attacker.expect(0, other.create(dbuf_cookie=buffer.cookie))


@case()
async def cookies_of_nothing(attacker: Attacker) -> None:
    """ENOENT."""
    buffer = await attacker.buffer()
    for request in (
        DbufDestroy(0, buffer.cookie),
        buffer.attach(1),
        FbDetach(0, 1),
        config(1),
        PgFlip(0, 1),
        PgFlip(0, (1 << 64) - 1),
    ):
        await attacker.expect(ENOENT, request)


@case()
async def framebuffer_of_a_destroyed_buffer(attacker: Attacker) -> None:
    """Destroyed while on screen: it is taken off first, its framebuffers are gone (ENOENT), no memory is read."""
    buffer, frame = await attacker.picture()
    await attacker.flip(frame)
    await attacker.expect(0, DbufDestroy(0, buffer.cookie))
    await attacker.expect(ENOENT, PgFlip(0, frame))
    await attacker.expect(ENOENT, FbDetach(0, frame))
    await attacker.expect(ENOENT, config(frame))


@case()
async def framebuffer_detached_on_screen(attacker: Attacker) -> None:
    """The output is blanked first; then it is unknown (ENOENT)."""
    buffer, frame = await attacker.picture()
    await attacker.expect(0, FbDetach(0, frame))
    await attacker.expect(ENOENT, PgFlip(0, frame))
    await attacker.expect(0, buffer.attach(frame))
    await attacker.expect(0, config(frame))
    await attacker.flip(frame)


@case()
async def buffers_without_end(attacker: Attacker) -> str:
    """ENOSPC from the 257th on, or what Xen allows before; all are free again when the frontend leaves."""
    buffer, ring, batch = await attacker.buffer(), attacker.channels[0], 16
    seen: list[int] = []
    while len(seen) <= MAX_BUFFERS:
        for number in range(batch):
            await ring.put(buffer.create(dbuf_cookie=len(seen) + number + 1))
        await ring.push()
        seen += [-answer.status for answer in await ring.responses(batch)]
    count, refusals = seen.count(0), set(seen) - {0}
    # They are all of the same pages, and a PV dom0 maps each page twice, when a buffer is made.
    limits = {ENOSPC: MAX_BUFFERS, EINVAL: XEN_MAPPINGS // 2}
    if len(refusals) != 1 or any(seen[:count]) or count != limits.get(max(refusals)):
        raise AttackSucceeded(f"{count} buffers, then {sorted(refusals)}")
    await attacker.expect(0, DbufDestroy(0, 1))
    return f"{count} buffers"


# Memory


@case()
async def grants_ended_on_screen(attacker: Attacker) -> None:
    """The guest takes its pages back while they are shown; flips go on, and DBUF_DESTROY gives them up."""
    buffer, frame = await attacker.picture()
    for page in (*buffer.pages, buffer.directory):
        await attacker.hands.end(page)
    for _ in range(5):
        await attacker.flip(frame)
    await attacker.expect(0, DbufDestroy(0, buffer.cookie))


@case()
async def be_alloc_directory_of_no_grant(attacker: Attacker) -> str:
    """REQ_ALLOC into a directory that the backend can't write: an error, and no buffer."""
    buffer = await attacker.buffer()
    (readonly,) = await attacker.hands.grant(1, readonly=True)
    seen = [
        await attacker.send(buffer.create(flags=REQ_ALLOC, gref_directory=ref))
        for ref in (NO_GRANT, readonly.ref)
    ]
    if not all(seen):
        raise AttackSucceeded(f"answered {seen}")
    await attacker.expect(ENOENT, DbufDestroy(0, buffer.cookie))
    return f"errno {seen}"


@case()
async def be_alloc_beyond_the_budget(attacker: Attacker) -> str:
    """Dom0's memory is pinned up to what the operator allows, 1 MiB, then ENOSPC, also after DBUF_DESTROY."""
    buffer = await attacker.buffer()
    side = 256
    create = buffer.create(width=side, height=side, buffer_sz=4 * side * side, flags=REQ_ALLOC)
    made, status = 0, 0
    for number in range(12):
        status = await attacker.send(replace(create, dbuf_cookie=number + 1))
        made += status == 0
        if status:
            break
    if status not in (ENOSPC, EACCES) or made > 4:
        raise AttackSucceeded(f"{made} buffers of 256 KiB, then {status}")
    taller = replace(create, dbuf_cookie=100, height=side + 16, buffer_sz=4 * side * (side + 16))
    for number in range(made):
        await attacker.expect(0, DbufDestroy(0, number + 1))
    # It may still be mapped by the guest, so it still counts.
    await attacker.expect(status, taller)
    return f"{made} of 256 KiB, then {status}"
