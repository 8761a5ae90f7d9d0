# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m tests.hostile.sanitized SECONDS [CORPUS]``: the C code under AddressSanitizer and UBSan.

Two thirds of the time attacks (mutations.py) on a daemon whose extensions are built with them, in build/sanitized;
a third rings and pictures alone (memory.c), whose every byte has a border there. An attack that fails is kept in
the working directory as ``attacks-crash-…``. Exit code 0: nothing was found; 1, with the seed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

from tests.copy.programs import PICTURES, SANITIZED, SOURCES, build
from tests.hostile.mutations import EXTENSIONS

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "sanitized"
SEEDS = Path(__file__).parent / "seeds" / "attacks"
SANITIZE = "-fsanitize=address,undefined"
START_SECONDS = 120
"""Until a child has started, and ended, on a busy machine."""


class Found(Exception):
    """What a sanitizer, or the attacked, complained of."""


def build_extensions() -> Path:
    """Where they are; not where the normal ones are. Raises CalledProcessError."""
    flags = f"-g {SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer"
    subprocess.run(
        [
            *(sys.executable, "setup.py", "--quiet", "build_ext"),
            *(f"--build-lib={BUILT / 'lib'}", f"--build-temp={BUILT / 'temp'}"),
        ],
        check=True,
        cwd=ROOT,
        env={**os.environ, "CFLAGS": flags, "LDFLAGS": SANITIZE},
        capture_output=True,
        timeout=300,
    )
    return BUILT / "lib" / "xendisplback" / "_ext"


def attack(extensions: Path, seed: str, seconds: float, *corpus: Path) -> str:
    """What the child said. Raises Found."""
    preload = _library("libasan.so"), _library("libubsan.so")
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(preload),
        # Python leaks at its end; SIGBUS is ours (picture_copy.c). With stacks of its own for signals libasan 8
        # finds an overflow in itself where a thread ends.
        "ASAN_OPTIONS": "detect_leaks=0:handle_sigbus=0:use_sigaltstack=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        # What cffi allocates has borders too.
        "PYTHONMALLOC": "malloc",
        EXTENSIONS: str(extensions),
    }
    tried = BUILT / "input"
    child = [*(sys.executable, "-m", "tests.hostile.mutations", seed, f"{seconds:g}"), str(tried)]
    folders = [str(SEEDS), *map(str, corpus)]
    try:
        return _said([*child, *folders], seconds, environment)
    except Found as found:
        if not tried.exists():
            raise
        data = tried.read_bytes()
        kept = Path(f"attacks-crash-{hashlib.sha1(data).hexdigest()}")
        kept.write_bytes(data)
        raise Found(f"{found}\nthe attack is kept in {kept}") from None


def fuzz_memory(
    folder: Path, seed: str, seconds: float, rings: Path = SOURCES / "flip_ring.c"
) -> str:
    """As :func:`attack`."""
    number = int.from_bytes(hashlib.sha1(seed.encode()).digest()[:8], "little")
    program = build(
        folder / "memory",
        SANITIZED,
        Path(__file__).parent / "memory.c",
        rings,
        *PICTURES,
    )
    return _said([str(program), str(number), str(int(seconds))], seconds, dict(os.environ))


def _library(name: str) -> str:
    done = subprocess.run(
        ["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _said(command: list[str], seconds: float, environment: dict[str, str]) -> str:
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=ROOT,
            env=environment,
            timeout=seconds + START_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise Found(f"it hangs: {error}") from None
    if done.returncode or "runtime error:" in done.stderr:
        raise Found(f"exit code {done.returncode}\n{done.stderr[-8000:]}")
    return done.stdout.strip()


def main() -> int:
    seconds, *corpus = sys.argv[1:]
    seed = os.environ.get("SEED") or secrets.token_hex(4)
    print(f"seed {seed}", flush=True)
    try:
        extensions = build_extensions()
        found = [path for path in map(Path, corpus) if path.is_dir()]
        print(attack(extensions, seed, float(seconds) * 2 / 3, *found), flush=True)
        print(fuzz_memory(BUILT, seed, float(seconds) / 3), flush=True)
    except Found as error:
        print(f"FAILED with SEED={seed}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
