# SPDX-License-Identifier: GPL-2.0-or-later
"""What single threads of this process cost: CPU time and system calls."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path

from xendisplback.errors import HostError

INTERPRETER_LOCK = "interpreter lock"
"""Counted apart from other futexes."""
_CALL = re.compile(r"(?:\d+ +)?([\d.]+) (\w+)\((0x[0-9a-f]+)?")
_TASKS = Path("/proc/self/task")


def all_threads() -> set[int]:
    return {int(entry.name) for entry in _TASKS.iterdir()}


def cpu_seconds(threads: Set[int]) -> float:
    """What ``threads`` have run until now; those that ended count nothing."""
    total = 0
    for thread in threads:
        try:
            total += int((_TASKS / str(thread) / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e9


def resident_mib() -> float:
    """Of the whole process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise HostError("/proc/self/status has no VmRSS")


@dataclass(frozen=True, slots=True)
class Traced:
    """System calls by name, and by how much ``progress`` went on meanwhile."""

    calls: Counter[str]
    progress: int


def count_system_calls(
    threads: Set[int], seconds: float, progress: Callable[[float, float], int]
) -> Traced:
    """strace ``threads`` for ``seconds``. Blocking. Raises HostError where that can't be done.

    ``progress`` is asked once, how much went on between two moments of CLOCK_MONOTONIC.
    """
    if shutil.which("strace") is None:
        raise HostError("strace is not installed", hint="apt install strace")
    with tempfile.NamedTemporaryFile("r") as table:
        arguments = ["strace", "-ttt", "-e", "signal=none", "-o", table.name]
        for thread in threads:
            arguments += ["-p", str(thread)]
        with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as strace:
            _await_attached(strace, len(threads))
            began = time.monotonic()
            time.sleep(seconds)
            # Many threads are let go of one after the other, and go on meanwhile.
            ended = time.monotonic()
            strace.send_signal(signal.SIGINT)
            strace.communicate()
        # strace tells the time of day.
        day = time.time() - time.monotonic()
        calls = Counter(name for line in table if (name := _call(line, began + day, ended + day)))
    return Traced(calls, progress(began, ended))


def _call(line: str, began: float, ended: float) -> str | None:
    """The name of the call that a line of strace tells the beginning of, if that was between these times."""
    found = _CALL.match(line)
    if found is None or not began <= float(found[1]) <= ended:
        return None
    name, argument = found[2], found[3]
    if name == "futex" and int(argument, 16) in _interpreter_data():
        return INTERPRETER_LOCK
    return name


@functools.cache
def _interpreter_data() -> range:
    """Where the interpreter's own variables are, its lock among them."""
    inside = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        if start <= inside < end:
            return range(start, end)
    raise HostError("/proc/self/maps lacks the interpreter's data")


def _await_attached(strace: subprocess.Popen[str], count: int) -> None:
    assert strace.stderr is not None
    said: list[str] = []
    # A thread that has ended meanwhile is only complained about.
    while sum("attached" in line or "No such process" in line for line in said) < count:
        line = strace.stderr.readline()
        if not line:
            raise HostError("strace could not attach: " + " ".join(said).strip(), call="ptrace")
        said.append(line)
