# SPDX-License-Identifier: GPL-2.0-or-later
"""Interdomain event channels, behind the interface of Linux's /dev/xen/evtchn. Thread-safe.

A port that raised an event is masked until it is unmasked; what is raised meanwhile comes once, then. C reads,
unmasks and notifies by functions that end up here; each makes the one system call that the real device takes, so
that figures taken here hold there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections import deque
from dataclasses import dataclass

from xendisplback.errors import HostError
from xendisplback.sim import callbacks


@dataclass(slots=True, eq=False)
class _Port:
    handle: EventChannelHandle
    number: int
    remote_domid: int
    peer: _Port | None = None
    masked: bool = False
    raised: bool = False

    def raise_event(self) -> bool:
        """Under the table's lock. Whether the handle must be woken (:meth:`EventChannelHandle.wake`)."""
        if self.masked:
            self.raised = True
            return False
        self.masked = True
        self.handle.queue.append(self.number)
        return True


class EventChannelTable:
    """The hypervisor's table."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.ports: dict[tuple[int, int], _Port] = {}
        self._handles: list[EventChannelHandle] = []
        self._buried: list[EventChannelHandle] = []
        self._next: dict[int, int] = {}

    def open(self, domid: int, restricted_to: int | None = None) -> EventChannelHandle:
        """``domid``'s handle; ``restricted_to``: it can only bind to that domain."""
        with self.lock:
            handle = EventChannelHandle(self, domid, restricted_to)
            self._handles.append(handle)
            return handle

    def open_for(self, domid: int) -> int:
        """How many handles restricted to ``domid`` are open."""
        with self.lock:
            return sum(handle.restricted_to == domid for handle in self._handles)

    def end_of(self, domid: int) -> None:
        """A process of that domain was killed: its handles are closed."""
        with self.lock:
            for handle in [each for each in self._handles if each.domid == domid]:
                handle.close()

    def bury(self, handle: EventChannelHandle) -> None:
        """Its fds stay open until :meth:`close_buried`: the other end may be about to write to them."""
        self._handles.remove(handle)
        self._buried.append(handle)

    def close_buried(self) -> None:
        """Nobody is about to write to what was closed before."""
        with self.lock:
            buried, self._buried = self._buried, []
        for handle in buried:
            handle.close_fds()

    def close(self) -> None:
        """The machine is switched off."""
        self.close_buried()
        for handle in self._handles:
            handle.close_fds()

    def new_port(self, handle: EventChannelHandle, remote_domid: int) -> _Port:
        number = self._next.get(handle.domid, 1)
        self._next[handle.domid] = number + 1
        port = self.ports[handle.domid, number] = _Port(handle, number, remote_domid)
        return port


class EventChannelHandle:
    """Fulfils :class:`xendisplback.host.EventChannels`; guests have one too, and allocate ports on it."""

    def __init__(self, table: EventChannelTable, domid: int, restricted_to: int | None) -> None:
        self.domid = domid
        self.restricted_to = restricted_to
        self._table = table
        # A semaphore: each read takes one port, as each read of libxenevtchn's does.
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        # Takes the place of write(2) on /dev/xen/evtchn, which unmasks; nobody reads it.
        self._unmask_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.queue: deque[int] = deque()
        self._open = True
        self.handle = callbacks.register(self)

    @property
    def fd(self) -> int:
        return self._fd

    @property
    def pending_function(self) -> int:
        return callbacks.address(_PENDING)

    @property
    def unmask_function(self) -> int:
        return callbacks.address(_UNMASK)

    @property
    def notify_function(self) -> int:
        return callbacks.address(_NOTIFY)

    def wake(self, ports: int = 1) -> None:
        """Without the lock, or whoever waits for it would add to the system calls that figures count."""
        os.eventfd_write(self._fd, ports)

    def _port(self, number: int) -> _Port:
        port = self._table.ports.get((self.domid, number))
        if port is None or port.handle is not self:
            raise HostError(f"no event channel {number}", call="ioctl", errno=errno.ENOTCONN)
        return port

    def allocate(self, remote_domid: int) -> int:
        """A port that ``remote_domid`` can bind to."""
        with self._table.lock:
            return self._table.new_port(self, remote_domid).number

    def bind(self, remote_port: int) -> int:
        with self._table.lock:
            remote_domid = self.restricted_to
            peer = None
            if remote_domid is not None:
                peer = self._table.ports.get((remote_domid, remote_port))
            if peer is None or peer.remote_domid != self.domid or peer.peer is not None:
                raise HostError(
                    f"domain {remote_domid} has no free event channel {remote_port}",
                    call="xenevtchn_bind_interdomain",
                    errno=errno.EINVAL,
                )
            port = self._table.new_port(self, peer.handle.domid)
            port.peer, peer.peer = peer, port
            port.raise_event()
        self.wake()
        return port.number

    def unbind(self, port: int) -> None:
        """The other end can be bound again."""
        with self._table.lock:
            closing = self._port(port)
            if closing.peer is not None:
                closing.peer.peer = None
            del self._table.ports[self.domid, port]

    def notify(self, port: int) -> None:
        """Nothing happens if the other end is closed."""
        with self._table.lock:
            peer = self._port(port).peer
            wanted = peer is not None and peer.raise_event()
        if peer is not None and wanted:
            peer.handle.wake()

    def pending(self) -> int | None:
        """A port that raised an event."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return None
        with self._table.lock:
            return self.queue.popleft()

    def unmask(self, port: int) -> None:
        os.eventfd_write(self._unmask_fd, 1)
        wanted = False
        with self._table.lock:
            unmasked = self._port(port)
            unmasked.masked = False
            if unmasked.raised:
                unmasked.raised = False
                wanted = unmasked.raise_event()
        if wanted:
            self.wake()

    def close(self) -> None:
        """Unbinds every port. Idempotent."""
        with self._table.lock:
            if not self._open:
                return
            self._open = False
            for (domid, number), port in list(self._table.ports.items()):
                if domid == self.domid and port.handle is self:
                    self.unbind(number)
            self._table.bury(self)

    def close_fds(self) -> None:
        callbacks.forget(self.handle)
        os.close(self._fd)
        os.close(self._unmask_fd)


# What C calls in place of libxenevtchn's functions: a handle's number first.


def _pending(handle: int) -> int:
    found = callbacks.find(handle, EventChannelHandle)
    port = None if found is None else found.pending()
    if port is None:
        ctypes.set_errno(errno.EAGAIN)
        return -1
    return port


def _unmask(handle: int, port: int) -> int:
    found = callbacks.find(handle, EventChannelHandle)
    if found is not None:
        found.unmask(port)
    return 0


def _notify(handle: int, port: int) -> int:
    found = callbacks.find(handle, EventChannelHandle)
    if found is not None:
        found.notify(port)
    return 0


_PENDING = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, use_errno=True)(_pending)
_UNMASK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_uint32)(_unmask)
_NOTIFY = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_uint32)(_notify)
