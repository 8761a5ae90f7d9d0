# SPDX-License-Identifier: GPL-2.0-or-later
"""A running domain: memory, event channels, its XenStore connection, one guest driver for each vdispl device."""

from __future__ import annotations

from collections.abc import Callable

import trio

from xendisplback.sim.event_channels import EventChannelHandle
from xendisplback.sim.guest import Guest
from xendisplback.sim.local_store import LocalStore
from xendisplback.sim.memory import GuestMemory


class Domain:
    def __init__(
        self,
        domid: int,
        memory: GuestMemory,
        store: LocalStore,
        open_channels: Callable[[], EventChannelHandle],
        nursery: trio.Nursery,
        on_death: Callable[[Domain], None],
    ) -> None:
        self.domid = domid
        self.memory = memory
        self.store = store
        self.guests: dict[int, Guest] = {}
        """By the index of their device."""
        self.alive = True
        self._open_channels = open_channels
        self._handles: list[EventChannelHandle] = []
        self._nursery = nursery
        self._on_death = on_death

    @property
    def guest(self) -> Guest:
        """The frontend of the first device."""
        return next(iter(self.guests.values()))

    def add_guest(self, index: int) -> Guest:
        """The driver for device ``index``, whose nodes exist; not started yet."""
        handle = self._open_channels()
        self._handles.append(handle)
        path = f"/local/domain/{self.domid}/device/vdispl/{index}"
        guest = Guest(path, self.store, self.memory, handle, self._nursery)
        self.guests[index] = guest
        return guest

    def die(self) -> None:
        """Gone at once, as after a crash: nobody closes anything, nodes stay. Idempotent."""
        if not self.alive:
            return
        self.alive = False
        for guest in self.guests.values():
            guest.stop()
        for handle in self._handles:
            handle.close()
        self._on_death(self)
