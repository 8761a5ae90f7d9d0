# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.hostile.mutations SEED SECONDS INPUT [DIR...]``: attacks made of others, at random.

For builds that no coverage can be had of. DIRs have attacks to start from; each one is written to the file INPUT
before it is tried. With XENDISPLBACK_EXTENSIONS the C extensions are taken from that directory.
"""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import trio

import xendisplback._ext as extensions

EXTENSIONS = "XENDISPLBACK_EXTENSIONS"
MAX_BYTES = 1024


def use_extensions() -> None:
    """Before one is loaded."""
    folder = os.environ.get(EXTENSIONS)
    if folder:
        extensions.__path__.insert(0, folder)


def mutated(known: Sequence[bytes], choose: random.Random) -> bytes:
    """One of ``known`` with some changes; parts of another one among them."""
    data = bytearray(choose.choice(known))
    for _ in range(choose.randrange(1, 8)):
        at = choose.randrange(len(data) + 1)
        match choose.randrange(4):
            case 0:
                data[at : at + choose.randrange(1, 5)] = choose.randbytes(choose.randrange(5))
            case 1:
                other = choose.choice(known)
                start = choose.randrange(len(other) + 1)
                data[at:at] = other[start : start + choose.randrange(64)]
            case 2:
                del data[at : at + choose.randrange(32)]
            case _ if at < len(data):
                data[at] ^= 1 << choose.randrange(8)
            case _:
                data += choose.randbytes(16)
    return bytes(data[:MAX_BYTES])


async def attack(seed: str, seconds: float, file: Path, known: Sequence[bytes]) -> int:
    """How many. Raises AttackSucceeded."""
    from tests.hostile.arena import arena

    choose = random.Random(seed)
    count = 0
    async with arena(float("inf")) as one:
        end = trio.current_time() + seconds
        while trio.current_time() < end:
            data = mutated(known, choose)
            file.write_bytes(data)
            await one.attack(data)
            count += 1
    return count


def main() -> None:
    seed, seconds, file, *folders = sys.argv[1:]
    use_extensions()
    logging.getLogger("xendisplback").addHandler(logging.NullHandler())
    logging.getLogger("xendisplback").propagate = False
    paths = [path for folder in folders for path in sorted(Path(folder).glob("*"))]
    known = [path.read_bytes() for path in paths] or [b""]
    count = trio.run(attack, seed, float(seconds), Path(file), known)
    # After a deadly signal in a thread of C there would be no such line.
    print(f"{count} attacks", flush=True)


if __name__ == "__main__":
    main()
