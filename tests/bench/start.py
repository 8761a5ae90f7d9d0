# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a daemon's process takes from exec to READY and to its guests' InitWait, and how large it is then."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from xendisplback.errors import HostError
from xendisplback.sim.host import SimHost
from xendisplback.sim.store_tree import DOM0

BACKENDS = "/local/domain/0/backend/vdispl"
INIT_WAIT = "2"
SECONDS = 20.0
SETTLE_SECONDS = 0.5
"""After the last InitWait: cards are opened and the way to copy is chosen beside it."""


@dataclass(frozen=True, slots=True)
class Start:
    guests: int
    """That waited for the daemon."""
    ready: float
    """Seconds from exec to READY=1."""
    init_wait: float
    """Seconds from exec to InitWait of the last guest."""
    resident: float
    """MiB."""
    anonymous: float
    """MiB of it that are no file's: what the process costs where its libraries are in use by others, too."""
    pauses: Sequence[float]
    """Milliseconds of each pass of the garbage collector after the imports."""


async def measure_start(guests: int) -> Start:
    """Raises HostError where the daemon does not start."""
    async with SimHost([]) as host:
        for _ in range(guests):
            await host.toolstack.create([("HDMI-A-1", "800x600")], start=False, wait=False)
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/notify"
            with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
                await listener.bind(path)
                return await _measure(host, listener, path)


async def _measure(host: SimHost, listener: trio.socket.SocketType, path: str) -> Start:
    environment = os.environ | {
        "XENSTORED_PATH": str(host.server.socket_path(DOM0)),
        "NOTIFY_SOCKET": path,
    }
    arguments = [sys.executable, "-m", "tests.bench.lone_daemon"]
    started = time.monotonic()
    with subprocess.Popen(
        arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with trio.fail_after(SECONDS):
                init_wait = await _until_init_wait(host) - started
                ready = await _until_ready(listener) - started
            await trio.sleep(SETTLE_SECONDS)
            resident, anonymous = _memory(process.pid)
        except trio.TooSlowError as error:
            raise HostError("the daemon did not start") from error
        finally:
            process.send_signal(signal.SIGTERM)
            said, _ = await trio.to_thread.run_sync(process.communicate)
    pauses = [float(line) for line in said.split()]
    return Start(len(host.domains), ready, init_wait, resident, anonymous, pauses)


async def _until_init_wait(host: SimHost) -> float:
    """When all guests' backends were there."""
    store = host.toolstack.store
    states = {f"{BACKENDS}/{domid}/0/state" for domid in host.domains}
    changed = trio.Event()

    def look() -> None:
        states.difference_update([path for path in states if store.get(path) == INIT_WAIT])
        if not states:
            changed.set()

    with store.watch(BACKENDS, look):
        await changed.wait()
    return time.monotonic()


async def _until_ready(listener: trio.socket.SocketType) -> float:
    while "READY=1" not in (await listener.recv(4096)).decode().splitlines():
        pass
    return time.monotonic()


def _memory(pid: int) -> tuple[float, float]:
    """MiB: all that is resident, and what of it is no file's."""
    text = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in text.splitlines())
    resident, anonymous = (int(lines[name].split()[0]) / 1024 for name in ("VmRSS", "RssAnon"))
    return resident, anonymous
