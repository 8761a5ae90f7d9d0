# SPDX-License-Identifier: GPL-2.0-or-later
"""What is downloaded and built, kept outside the checkout.

An item is a file or directory whose name carries a hash of all that went into it, so that a stale one can't
be taken for a current one. It is built under another name and renamed: what exists is complete.
``XENDISPLBACK_CACHE`` names the directory; the default is ``~/.cache/xendisplback``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent


def cache_directory() -> Path:
    path = Path(os.environ.get("XENDISPLBACK_CACHE") or Path.home() / ".cache" / "xendisplback")
    path.mkdir(parents=True, exist_ok=True)
    return path


def progress(text: str) -> None:
    print(f"rig: {text}", flush=True)


def digest(parts: Iterable[str | bytes | Path]) -> str:
    """16 hex digits over texts and over the contents of files (with their names)."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = f"{part.name}\0".encode() + part.read_bytes()
        else:
            data = part if isinstance(part, bytes) else part.encode()
        total.update(len(data).to_bytes(8, "little"))
        total.update(data)
    return total.hexdigest()[:16]


def cached(
    kind: str, parts: Iterable[str | bytes | Path], what: str, build: Callable[[Path], None]
) -> Path:
    """The item ``kind``-HASH; ``build`` makes it at the path it is given when it is missing.

    Older items of the same kind are removed: a root file system weighs about a gigabyte.
    """
    directory = cache_directory()
    path = directory / f"{kind}-{digest(parts)}"
    with _lock(directory / f"{kind}.lock"):
        if path.exists():
            return path
        for old in directory.glob(f"{kind}-*"):
            _remove(old)
        started = time.monotonic()
        progress(f"{what} …")
        unfinished = directory / f"unfinished-{kind}"
        if unfinished.exists():
            _remove(unfinished)
        build(unfinished)
        unfinished.rename(path)
        progress(f"{what}: done, {time.monotonic() - started:.0f} s")
    return path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path) -> Generator[None]:
    """Two rigs on one machine build one item once."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
