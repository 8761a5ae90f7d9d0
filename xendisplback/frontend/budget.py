# SPDX-License-Identifier: GPL-2.0-or-later
"""How much of dom0 guests may use, each and together: ``[budget]`` of the configuration.

What is taken is given back when it is freed, by whichever thread does that. Amounts that are refused cost the
guest the request; rates cost it time, and have no total: in one, a guest could use up the others' share. What is
allocated for guests has budgets of its own, because it outlives connections
(:mod:`~xendisplback.frontend.allocation`).

The framebuffers of a card that pictures are copied into are in no budget: they are as large as monitors' modes or
layers, and two for each place where a guest is shown, all of which is the operator's to say.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Final
from weakref import WeakValueDictionary

from xendisplback.config import BudgetSettings
from xendisplback.protocol.errors import RequestError
from xendisplback.protocol.layout import PAGE
from xendisplback.protocol.status import Status

PAGES_PER_MIB: Final = (1 << 20) // PAGE
BURST_SECONDS: Final = 1.0
"""Of a rate, that may come at once."""


class Kind(Enum):
    GRANTS = auto()
    """Pages of guests that are mapped or exported; twice if both, as in Xen's map-track table."""
    MEMORY = auto()
    """Pages of ours that exports (write-combined, coherent) are laid over."""
    BUFFERS = auto()
    FRAMEBUFFERS = auto()
    CONNECTORS = auto()


class OverBudget(RequestError):
    def __init__(self, message: str, *, known: bool) -> None:
        """``known``: the operator was told that this domain has reached this limit."""
        super().__init__(Status.ENOSPC, message)
        self.known = known


class Pace:
    """At most ``rate`` a second, and a second's worth at once."""

    def __init__(self, rate: float, now: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._now = now
        self._left = rate * BURST_SECONDS
        self._at = now()

    def take(self) -> float:
        """One more. For how many seconds the next one is to wait."""
        now = self._now()
        self._left = min(self._left + (now - self._at) * self._rate, self._rate * BURST_SECONDS) - 1
        self._at = now
        return max(0.0, -self._left / self._rate)


class Budgets:
    """Of all domains."""

    def __init__(self, settings: BudgetSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._used: Counter[tuple[int, Kind]] = Counter()
        self._told: set[tuple[int, Kind]] = set()
        self._limits = {
            Kind.GRANTS: (settings.grants_per_domain, settings.grants_total, "grants"),
            Kind.MEMORY: (
                settings.memory_per_domain * PAGES_PER_MIB,
                settings.memory_total * PAGES_PER_MIB,
                "memory",
            ),
            Kind.BUFFERS: (settings.buffers_per_domain, settings.buffers_total, "buffers"),
            Kind.FRAMEBUFFERS: (
                settings.framebuffers_per_domain,
                settings.framebuffers_total,
                "framebuffers",
            ),
            Kind.CONNECTORS: (
                settings.connectors_per_domain,
                settings.connectors_total,
                "connectors",
            ),
        }
        """Of one domain, of all, and what the keys begin with."""
        self._domains: WeakValueDictionary[int, DomainBudget] = WeakValueDictionary()

    def of(self, domid: int) -> DomainBudget:
        """The same one for all who hold it."""
        budget = self._domains.get(domid)
        if budget is None:
            budget = self._domains[domid] = DomainBudget(self, domid, self._settings)
        return budget

    def used(self, kind: Kind, domid: int | None = None) -> int:
        """By one domain, or by all."""
        with self._lock:
            return self._sum(kind) if domid is None else self._used[domid, kind]

    def limit(self, kind: Kind) -> int:
        """Of one domain."""
        return self._limits[kind][0]

    def _sum(self, kind: Kind) -> int:
        return sum(amount for (_, each), amount in self._used.items() if each is kind)

    def take(self, domid: int, kind: Kind, amount: int) -> None:
        """Raises OverBudget, and nothing is taken."""
        limit, total, key = self._limits[kind]
        with self._lock:
            used = self._used[domid, kind]
            if used + amount > limit:
                raise self._refusal(domid, kind, amount, used, f"{key}-per-domain", limit)
            if (all_used := self._sum(kind)) + amount > total:
                raise self._refusal(domid, kind, amount, all_used, f"{key}-total", total)
            self._used[domid, kind] += amount

    def _refusal(
        self, domid: int, kind: Kind, amount: int, used: int, key: str, limit: int
    ) -> OverBudget:
        known = (domid, kind) in self._told
        self._told.add((domid, kind))
        unit = "pages" if kind is Kind.MEMORY else kind.name.lower()
        return OverBudget(
            f"{amount} {unit} on top of {used} are over the budget of {limit}: {key} in [budget]",
            known=known,
        )

    def give(self, domid: int, kind: Kind, amount: int) -> None:
        with self._lock:
            self._used[domid, kind] -= amount
            if not self._used[domid, kind]:
                del self._used[domid, kind]
                self._told.discard((domid, kind))


class DomainBudget:
    """Of one domain, all its devices together."""

    def __init__(self, budgets: Budgets, domid: int, settings: BudgetSettings) -> None:
        self._budgets = budgets
        self._domid = domid
        self.requests = Pace(settings.requests_per_second)
        self.store_events = Pace(settings.store_events_per_second)

    def describe(self) -> dict[str, dict[str, int]]:
        """For the operator: what is used of which limit; memory in pages."""
        return {
            kind.name.lower(): {
                "used": self._budgets.used(kind, self._domid),
                "limit": self._budgets.limit(kind),
            }
            for kind in Kind
        }

    def take(self, kind: Kind, amount: int = 1) -> None:
        """Raises OverBudget, and nothing is taken."""
        self._budgets.take(self._domid, kind, amount)

    def give(self, kind: Kind, amount: int = 1) -> None:
        """What was taken."""
        self._budgets.give(self._domid, kind, amount)
