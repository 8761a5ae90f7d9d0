# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.faults.program FAULT FOLDER``: the daemon's ``main.run`` on a simulated host, as a process.

- ``nothing``   a guest works, then SIGTERM
- ``store``     xenstored is restarted while a guest is shown; then the daemon is started anew, as systemd does it
- ``files``     for N = 0, 1, ...: only N descriptors can be opened while a guest starts, and while a card is bound

Prints what was seen as JSON on the file descriptor 3, because the others may be broken.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from tests.faults.kit import CONNECTOR, try_to_use, use
from xendisplback.daemon import main
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.domain import Domain
from xendisplback.sim.guest_channel import Display
from xendisplback.sim.host import SimHost
from xendisplback.sim.loop_thread import LoopThread

MOST_FILES = 16
"""More than a guest needs."""
CARD_FILES = (0, 2)
"""Too few to open a card; too few to use it."""
PART_SECONDS = 30.0
LINGER_SECONDS = 6.0
"""An output that nobody uses is dark by then."""

Seen = dict[str, Any]


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def _released(host: SimHost, domid: int) -> bool:
    with trio.move_on_after(5):
        while host.memory.mapped(domid) or host.event_channels_open(domid):
            await trio.sleep(0.01)
        return True
    return False


async def _fresh(host: SimHost) -> bool:
    """Whether a new guest works and leaves nothing."""
    domain = await host.toolstack.create([CONNECTOR], name="fresh")
    worked = await try_to_use(domain)
    await host.toolstack.destroy(domain)
    return worked and await _released(host, domain.domid)


# The faults, in the loop of the guests; the daemon is ready


async def nothing(host: SimHost, seen: Seen) -> None:
    seen["fresh"] = await _fresh(host)
    _terminate()


async def store(host: SimHost, seen: Seen) -> None:
    domain = await host.toolstack.create([CONNECTOR])
    await use(domain)
    host.stop_store()
    while host.memory.mapped():
        await trio.sleep(0.01)
    host.server.start()
    seen["restarts"] = 1


async def store_again(host: SimHost, seen: Seen) -> None:
    """The second daemon's: the guest of the first is there."""
    (domain,) = host.domains.values()
    domain.guest.close_device()
    with trio.move_on_after(10):
        while not await try_to_use(domain):
            await trio.sleep(0.1)
        seen["again"] = True
    await host.toolstack.destroy(domain)
    seen["released"] = await _released(host, domain.domid)
    seen["fresh"] = await _fresh(host)
    _terminate()


async def files(host: SimHost, seen: Seen) -> None:
    other = await host.toolstack.create([("HDMI-A-2", "640x480")], name="other")
    results: list[tuple[bool, bool]] = []
    async with trio.open_nursery() as nursery:
        display: Display = await nursery.start(_flip_on, other)
        for number in range(MOST_FILES):
            domain = await host.toolstack.create([CONNECTOR], start=False)
            flips = display.flips
            with _no_more_than(number):
                domain.guest.start()
                with trio.move_on_after(1.0):
                    await try_to_use(domain)
                worked = display.flips > flips + 10
            await host.toolstack.destroy(domain)
            results.append((worked, await _released(host, domain.domid)))
        seen["fresh"] = await _fresh(host)
        seen["card"] = [await _bind_with(host, number) for number in CARD_FILES]
        nursery.cancel_scope.cancel()
    seen["results"] = results
    await host.toolstack.destroy(other)
    seen["released"] = await _released(host, other.domid)
    seen["timeouts"] = display.frame_done_timeouts
    await trio.sleep(LINGER_SECONDS)
    host.tidy()
    seen["framebuffers"] = host.device.framebuffers
    _terminate()


async def _bind_with(host: SimHost, number: int) -> bool:
    """A card is bound while only so many descriptors are left; whether it is used once there are more."""
    card = DisplayDevice(["DP-1"], ["640x480"], path="/dev/dri/card1")
    with _no_more_than(number):
        host.add_device(card)
        await trio.sleep(0.3)
    domain = await host.toolstack.create([("DP-1", "640x480")])
    shown = False
    if await try_to_use(domain):
        with trio.move_on_after(8):
            while card.screen("DP-1") is None:
                await trio.sleep(0.05)
            shown = True
    await host.toolstack.destroy(domain)
    host.remove_device(card)
    await trio.sleep(0.3)
    return shown


async def _flip_on(domain: Domain, *, task_status: trio.TaskStatus[Display]) -> None:
    """Task: a guest that goes on."""
    guest = domain.guest
    await guest.connected()
    frames = [await guest.create_framebuffer(640, 480, "XR24") for _ in range(2)]
    await guest.displays[0].enable(frames[0])
    task_status.started(guest.displays[0])
    while True:
        frames.reverse()
        with trio.CancelScope(shield=True):
            await guest.displays[0].flip(frames[0])
        await trio.lowlevel.checkpoint()


@contextmanager
def _no_more_than(left: int) -> Generator[None, None, None]:
    """Only so many descriptors can be opened in the block."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    highest = max(map(int, os.listdir("/proc/self/fd"))) + 2 + left
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                assert error.errno == errno.EMFILE
                break
        for _ in range(left):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


FAULTS: dict[str, list[Callable[[SimHost, Seen], Awaitable[None]]]] = {
    "nothing": [nothing],
    "store": [store, store_again],
    "files": [files],
}
"""What happens to each daemon in turn."""


def run(fault: str, folder: Path) -> Seen:
    seen: Seen = {}
    host = SimHost()

    async def live(task_status: trio.TaskStatus[None]) -> None:
        async with host:
            task_status.started()
            await trio.sleep_forever()

    async def ready(part: Callable[[SimHost, Seen], Awaitable[None]]) -> None:
        path = "/local/domain/0/drivers/displbe/status"
        while host.toolstack.store.get(path) != "ready":
            await trio.sleep(0.01)
        host.toolstack.store.write(path, "seen")
        await part(host, seen)
        over.set()

    def begin(part: Callable[[SimHost, Seen], Awaitable[None]]) -> Callable[[], object]:
        return lambda: trio.lowlevel.spawn_system_task(ready, part)

    over = threading.Event()
    loop = LoopThread("host", live)
    loop.start()
    config = folder / "config.toml"
    config.write_text(f'control-socket = "{folder}/control"\n')
    codes: list[int] = []
    for part in FAULTS[fault]:
        loop.call_soon(begin(part))
        codes.append(main.run(config, host))
        host.fds.daemon_ended()
        over.wait(PART_SECONDS)
        over.clear()
    seen["codes"] = codes
    seen["mapped"] = host.memory.mapped()
    loop.stop()
    return seen


if __name__ == "__main__":
    result = run(sys.argv[1], Path(sys.argv[2]))
    os.write(3, json.dumps(result).encode())
