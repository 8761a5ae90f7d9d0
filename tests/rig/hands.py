# SPDX-License-Identifier: GPL-2.0-or-later
"""The hands of a hostile guest of the rig: a domain without a frontend's driver, driven over its console."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from tests.hostile.hands import Page, StoreRefused
from tests.rig.dom0_link import Dom0, RigError
from tests.rig.guests import Guest
from tests.rig.machines.kind import GuestKind

T = TypeVar("T")
# The ARM64 kernel has the frontend built in; guest/init does not load it.
NO_FRONTEND = "rig.hostile initcall_blacklist=xen_drv_init"


def without_frontend(kind: GuestKind) -> GuestKind:
    return replace(kind, extra=f"{kind.extra} {NO_FRONTEND}")


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns: with these hands nothing is ever waited for by an event loop."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


class RigHands:
    """Fulfils :class:`tests.hostile.hands.Hands`."""

    def __init__(self, dom0: Dom0, guest: Guest, neighbour: Guest, neighbours_output: str) -> None:
        """``guest``: up, of a kind :func:`without_frontend`."""
        assert guest.domid is not None
        assert neighbour.domid is not None
        self.domid = guest.domid
        self.neighbour = neighbour.domid
        self.neighbours_output = neighbours_output
        self.path = f"/local/domain/{guest.domid}/device/vdispl/0"
        self.backend_path = f"/local/domain/0/backend/vdispl/{guest.domid}/0"
        self.milliseconds = 3000
        self.patience = 1.5
        self.asked = 0
        self._guest = guest

    def _ask(self, line: str) -> str:
        self.asked += 1
        return self._guest.ask(f"attack {line}")

    # Pages

    async def grant(self, count: int, *, readonly: bool = False) -> Sequence[Page]:
        first, *refs = map(int, self._ask(f"grant {count}{' ro' * readonly}").split())
        return [Page(first + number, ref) for number, ref in enumerate(refs)]

    async def end(self, page: Page) -> None:
        self._ask(f"end {page.number}")

    async def poke(self, page: Page, offset: int, data: bytes) -> None:
        self._ask(f"poke {page.number} {offset} {data.hex()}")

    async def peek(self, page: Page, offset: int, length: int) -> bytes:
        return bytes.fromhex(self._ask(f"peek {page.number} {offset} {length}"))

    async def series(self, page: Page, offset: int, first: int, count: int, step: int) -> None:
        self._ask(f"series {page.number} {offset} {first} {count} {step}")

    async def race(self, page: Page, offset: int, one: int, other: int) -> None:
        self._ask(f"race {page.number} {offset} {one} {other} {self.milliseconds}")

    async def flood(self, ring: Page, port: int) -> Mapping[int, int]:
        said = self._ask(f"flood {ring.number} {port} {self.milliseconds}").split()
        pairs = (pair.split(":") for pair in said)
        return {-int(status): int(count) for status, count in pairs}

    # Event channels

    async def port(self) -> int:
        return int(self._ask("port"))

    async def kick(self, port: int, count: int = 1) -> None:
        self._ask(f"kick {port} {count}")

    # XenStore

    def _store(self, line: str) -> str:
        """Raises: StoreRefused, by XenStore's word, which is the guest's answer."""
        try:
            return self._ask(f"xs-{line}")
        except RigError as error:
            word = str(error).rpartition(": ")[2]
            if word.isalnum() and word.isupper():
                raise StoreRefused(word) from None
            raise

    async def read(self, path: str) -> str:
        return self._store(f"read {path}")

    async def write(self, path: str, value: str) -> None:
        self._store(f"write {path} {_hex(value)}")

    async def remove(self, path: str) -> None:
        self._store(f"rm {path}")

    async def owner(self, path: str) -> int:
        return int(self._store(f"owner {path}")[1:])

    async def store_storm(self, path: str, values: Sequence[str]) -> int:
        return int(self._store(f"storm {path} {self.milliseconds} {' '.join(map(_hex, values))}"))

    # Time

    async def sleep(self, seconds: float) -> None:
        # A question takes longer than what is waited for between two looks.
        if seconds >= 0.05:
            time.sleep(seconds)

    async def reset(self) -> None:
        self._ask("reset")


def _hex(value: str) -> str:
    return value.encode("latin-1").hex() or "-"
