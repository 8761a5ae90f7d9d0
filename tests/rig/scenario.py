# SPDX-License-Identifier: GPL-2.0-or-later
"""Scenarios: named functions that raise when what they show isn't so, and return what they saw."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from tests.rig.dom0_link import RigError
from tests.rig.machines import MACHINES
from tests.rig.machines.x86_64 import X86_64
from tests.rig.rig import Rig

Function = Callable[[Rig], str]


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    seconds: float
    function: Function
    machines: tuple[str, ...]
    on_demand: bool
    """Runs only when it is named."""

    @property
    def shows(self) -> str:
        return (self.function.__doc__ or "").strip().splitlines()[0]


SCENARIOS: list[Scenario] = []
BOTH = tuple(MACHINES)


def scenario(
    seconds: float, machines: tuple[str, ...] = (X86_64.name,), *, on_demand: bool = False
) -> Callable[[Function], Function]:
    """Registers a function in the order of the file; it fails when it takes longer than ``seconds``.

    It runs on each of ``machines``: names, or :data:`BOTH`.
    """

    def register(function: Function) -> Function:
        SCENARIOS.append(Scenario(function.__name__, seconds, function, machines, on_demand))
        return function

    return register


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RigError(otherwise)


def run(item: Scenario, rig: Rig) -> bool:
    """Runs one, prints its result line and, when it failed, the evidence.

    In a thread: a scenario that hangs is given up, and its thread ends with its last request's deadline.
    """
    outcome: list[tuple[bool, str]] = []
    started = time.monotonic()
    thread = threading.Thread(target=lambda: outcome.append(_attempt(item, rig)), daemon=True)
    thread.start()
    thread.join(item.seconds)
    seconds = time.monotonic() - started
    passed, detail = outcome[0] if outcome else (False, f"not done after {item.seconds:g} s")
    print(f"{'PASS' if passed else 'FAIL'} {item.name} ({seconds:.1f} s) {detail}", flush=True)
    if not passed:
        print(rig.evidence(), flush=True)
    return passed


def _attempt(item: Scenario, rig: Rig) -> tuple[bool, str]:
    try:
        rig.machine.check()
        return True, item.function(rig)
    except RigError as error:
        return False, str(error)
    except Exception:
        return False, traceback.format_exc()
