# SPDX-License-Identifier: GPL-2.0-or-later
"""The XenStore client over /dev/xen/xenbus: what a driver domain has, where no xenstored socket is."""

from __future__ import annotations

from tests.rig.rig import Rig
from tests.rig.scenario import scenario

# Runs in dom0, on the installed package.
SCRIPT = """
import trio
from xendisplback.xen.store import StoreError, XenStore

ROOT = "/local/domain/0/data/rig"

async def follow(store, number, ready, seen):
    async with store.watch(f"{ROOT}/{number}") as watch:
        ready[number].set()
        async for _ in watch:
            if await store.get(f"{ROOT}/{number}") == "last":
                seen.append(number)
                return

async def main():
    with trio.fail_after(60):
        async with XenStore.connect("/dev/xen/xenbus") as store:
            ready, seen = [trio.Event() for _ in range(20)], []
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(follow, store, number, ready, seen)
                for event in ready:
                    await event.wait()
                async with trio.open_nursery() as many:
                    for number in range(200):
                        many.start_soon(store.write, f"{ROOT}/{number % 20}", str(number))
                async def body(tx):
                    for number in range(20):
                        await tx.write(f"{ROOT}/{number}", "last")
                await store.transact(body)
            assert sorted(seen) == list(range(20))
            assert len(await store.directory(ROOT)) == 20
            assert await store.is_introduced(0)
            await store.remove(ROOT)
            try:
                await store.read(ROOT)
            except StoreError as error:
                print("20 watches, 200 writes in flight, a transaction;", error.call)

trio.run(main)
"""


@scenario(120)
def xenbus_device(rig: Rig) -> str:
    """Watches, many requests in flight and a transaction over /dev/xen/xenbus."""
    rig.dom0.put("/root/xenbus_device.py", SCRIPT.encode())
    return rig.dom0.run(
        "/opt/xendisplback/bin/python", "/root/xenbus_device.py", timeout=90
    ).out.strip()
