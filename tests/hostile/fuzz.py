# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.hostile.fuzz TARGET SECONDS [CORPUS]``: coverage-guided, by atheris (libFuzzer).

TARGET: ``parsers`` or ``attacks``. Starts from tests/hostile/seeds/TARGET; what covers more is added to the
directory CORPUS. An input that fails is written into the working directory as ``TARGET-crash-…``; put into
seeds/TARGET, it is a test (test_attacks.py). Exit code 0: none failed.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import atheris
import trio

SEEDS = Path(__file__).parent / "seeds"
MAX_BYTES = 1024
INPUT_SECONDS = 60
"""Of one input, before it counts as a hang."""
MEMORY_MIB = 2048

with atheris.instrument_imports(include=["xendisplback"], enable_loader_override=False):
    from tests.hostile.arena import Arena, arena
    from tests.hostile.parsers import parse_anything
    from xendisplback.sim.loop_thread import LoopThread


class Attacks:
    """One arena for all of them, in a thread of its own: libFuzzer has the main thread."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[bytes](1)
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._thread = LoopThread("arena", self._run)
        self._thread.start()

    def __call__(self, data: bytes) -> None:
        self._done.clear()
        self._thread.call_soon(lambda: self._send.send_nowait(data))
        self._done.wait()
        if self._error is not None:
            raise self._error

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        async with arena(float("inf")) as one:
            task_status.started()
            async for data in self._receive:
                await self._attack(one, data)

    async def _attack(self, one: Arena, data: bytes) -> None:
        try:
            await one.attack(data)
        except BaseException as error:
            self._error = error
            raise
        finally:
            self._done.set()


TARGETS: dict[str, Callable[[], Callable[[bytes], None]]] = {
    "parsers": lambda: parse_anything,
    "attacks": Attacks,
}


def main() -> None:
    target, seconds, *corpus = sys.argv[1:]
    logging.getLogger("xendisplback").addHandler(logging.NullHandler())
    logging.getLogger("xendisplback").propagate = False
    options = [
        f"-max_total_time={int(seconds)}",
        f"-max_len={MAX_BYTES}",
        # Attacks take many bytes: none is too long at first.
        "-len_control=0",
        f"-timeout={INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-artifact_prefix={target}-",
        "-print_final_stats=1",
    ]
    for directory in corpus:
        Path(directory).mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *options, *corpus, str(SEEDS / target)], TARGETS[target]())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
