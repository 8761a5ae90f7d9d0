# SPDX-License-Identifier: GPL-2.0-or-later
"""The real host: Xen's libraries and libdrm. Fulfils :class:`xendisplback.host.Host`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager

from xendisplback.daemon.fdstore import SystemdFdStore
from xendisplback.errors import HostError
from xendisplback.host import Card, DomainFacts
from xendisplback.kms.select import open_cards
from xendisplback.xen.evtchn import Evtchn
from xendisplback.xen.features import read_domain_facts
from xendisplback.xen.gnttab import Gnttab
from xendisplback.xen.store import XenStore


class NativeHost:
    def fd_store(self) -> SystemdFdStore:
        return SystemdFdStore()

    def domain_facts(self) -> DomainFacts:
        return read_domain_facts()

    def store(self) -> AbstractAsyncContextManager[XenStore]:
        return XenStore.connect()

    def grant_table(self) -> Gnttab:
        return Gnttab()

    def event_channels(self, domid: int) -> Evtchn:
        return Evtchn(domid)

    def open_cards(self, selectors: Iterable[str]) -> tuple[Sequence[Card], Sequence[HostError]]:
        return open_cards(selectors)
