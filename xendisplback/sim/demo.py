# SPDX-License-Identifier: GPL-2.0-or-later
"""``xendisplback demo``: the daemon on a simulated host, two guests on two screens, figures as they come.

Ends by itself, with a PNG of each screen as it was last.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from xendisplback.daemon.logs import start_logging
from xendisplback.errors import HostError
from xendisplback.sim.daemon_thread import DaemonThread
from xendisplback.sim.domain import Domain
from xendisplback.sim.host import SimHost
from xendisplback.sim.kernel import SimKernel
from xendisplback.sim.pattern import MovingBeam
from xendisplback.sim.png import write_png
from xendisplback.sim.stages import stages

START_SECONDS = 15.0
INTERRUPTED = 130
"""What a shell makes of SIGINT."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A guest, what it draws, and where."""

    name: str
    output: str
    width: int
    height: int
    format: str
    step: int


PARTS = (
    _Part("linux-a", "HDMI-A-1", 800, 600, "XR24", 3),
    _Part("linux-b", "HDMI-A-2", 1024, 768, "RG16", 5),
)


class _Player:
    """A guest that draws and flips, as fast as its display takes it."""

    def __init__(self, part: _Part, domain: Domain) -> None:
        self.part = part
        self.domain = domain
        self.beam = MovingBeam(part.width, part.height, part.format, part.step)
        self.shown = 0
        """The number of the picture whose flip was confirmed last."""

    async def play(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Task: until cancelled. Started: the first picture is on screen."""
        guest, part = self.domain.guest, self.part
        await guest.connected()
        buffers = [
            await guest.create_framebuffer(part.width, part.height, part.format) for _ in range(2)
        ]
        for fb in buffers:
            self.beam.draw(fb, 0)
        display = guest.displays[0]
        await display.enable(buffers[0])
        task_status.started()
        number = 0
        while True:
            number += 1
            fb = buffers[number % 2]
            self.beam.draw(fb, number)
            # A flip once sent is waited for, or nobody knows which picture is on screen.
            with trio.CancelScope(shield=True):
                await display.flip(fb)
                self.shown = number
            await trio.lowlevel.checkpoint()


def _print(line: str) -> None:
    print(line, flush=True)


def run_demo(seconds: float, output: Path, say: Callable[[str], None] = _print) -> int:
    """0 if both screens showed what their guests drew, 130 after Ctrl-C. Raises HostError if it can't be run."""
    start_logging("info")
    code = INTERRUPTED
    try:
        code = trio.run(_demo, seconds, output, say)
    except* KeyboardInterrupt:
        say("interrupted")
    return code


async def _demo(seconds: float, output: Path, say: Callable[[str], None]) -> int:
    # The display takes XRGB8888 only: the first guest is shown without a copy, the second by one.
    async with SimHost(kernel=SimKernel(gntdev_dmabuf=True)) as host:
        daemon = DaemonThread(host)
        say("starting the daemon on a simulated Xen host with two monitors, HDMI-A-1 and HDMI-A-2")
        await trio.to_thread.run_sync(daemon.start)
        try:
            return await _play(host, seconds, output, say)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(daemon.stop)


async def _play(host: SimHost, seconds: float, output: Path, say: Callable[[str], None]) -> int:
    players: list[_Player] = []
    for part in PARTS:
        size = f"{part.width}x{part.height}"
        say(f"creating guest {part.name}: {part.output} {size} {part.format}")
        domain = await host.toolstack.create([(part.output, size)], name=part.name)
        players.append(_Player(part, domain))
    async with trio.open_nursery() as nursery:
        with trio.fail_after(START_SECONDS):
            for player in players:
                await nursery.start(player.play)
        await _report(host, players, seconds, say)
        nursery.cancel_scope.cancel()
    wrong = [player for player in players if not _save(host, player, output, say)]
    for player in players:
        seen = await host.toolstack.shutdown(player.domain)
        say(f"{player.part.name} shut down{'' if seen else ', but did not see its backend close'}")
    left = host.memory.mapped()
    say(f"pages of guests still mapped: {left}")
    return 1 if wrong or left else 0


async def _report(
    host: SimHost, players: list[_Player], seconds: float, say: Callable[[str], None]
) -> None:
    """Figures once a second."""
    end = trio.current_time() + seconds
    while (now := trio.current_time()) < end:
        before = [(player.shown, host.device.flips(player.part.output)) for player in players]
        period = min(1.0, end - now)
        await trio.sleep(period)
        elapsed = trio.current_time() - now
        for player, (flips, pictures) in zip(players, before, strict=True):
            output = player.part.output
            recent = list(player.domain.guest.displays[0].times)[-(player.shown - flips) :]
            records = [record for record in host.device.log if record.connector == output]
            say(
                f"{output}: {(player.shown - flips) / elapsed:5.1f} flips/s,"
                f" {(host.device.flips(output) - pictures) / elapsed:5.1f} pictures/s on screen;"
                f" {stages(recent, records) or 'no flip'}"
            )


def _save(host: SimHost, player: _Player, output: Path, say: Callable[[str], None]) -> bool:
    """Write the PNG; whether the screen shows what its guest drew last."""
    part = player.part
    screen = host.device.screen(part.output)
    if screen is None:
        say(f"{part.output}: dark")
        return False
    path = output / f"{part.output}.png"
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_png(path, screen)
    except OSError as error:
        raise HostError(
            "the picture can't be saved", call="open", path=os.fspath(path), errno=error.errno
        ) from error
    right = screen.pixels == player.beam.expected(player.shown)
    verdict = "equals what the guest drew" if right else "DIFFERS from what the guest drew"
    say(f"{part.output}: picture {player.shown} {verdict}; saved as {path}")
    return right
