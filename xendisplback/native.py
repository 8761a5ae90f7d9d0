# SPDX-License-Identifier: GPL-2.0-or-later
"""The real host: Xen's libraries and libdrm. Fulfils :class:`xendisplback.host.Host`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from xendisplback.daemon.fdstore import SystemdFdStore
from xendisplback.errors import HostError
from xendisplback.host import NONE_KEPT, Card, DisplayChange, DomainFacts, KeptCard
from xendisplback.kms.card import Card as KmsCard
from xendisplback.kms.select import open_cards
from xendisplback.kms.uevents import display_changes
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

    def display_changes(self) -> AbstractAsyncContextManager[AsyncIterator[DisplayChange]]:
        return display_changes()

    def open_lease(self, fd: int, name: str) -> Card:
        return KmsCard.lease(fd, name)

    def open_cards(
        self,
        selectors: Iterable[str],
        held: Iterable[str] = (),
        kept: Mapping[str, KeptCard] = NONE_KEPT,
    ) -> tuple[Sequence[Card], Sequence[HostError]]:
        return open_cards(selectors, held, kept)
