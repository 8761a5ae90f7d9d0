# SPDX-License-Identifier: GPL-2.0-or-later
"""All domains' memory, what the backend maps, exports and grants of it, and its grant table. Thread-safe."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Sequence

from xendisplback.errors import HostError
from xendisplback.host import ExportKind
from xendisplback.sim.backend_memory import BackendMemory, SimGrantedPages, SimSharedPages
from xendisplback.sim.dmabuf import BufferPages, DmaBufs, SimExport
from xendisplback.sim.kernel import SimKernel
from xendisplback.sim.mapping import PAGE, PageMapping, check_descriptors
from xendisplback.sim.memory import GuestMemory
from xendisplback.sim.process import OpenFile, Process


class SimGrantMapping:
    """Fulfils :class:`xendisplback.host.GrantMapping`."""

    def __init__(
        self, machine: MachineMemory, memory: GuestMemory, refs: Sequence[int], pages: PageMapping
    ) -> None:
        self._machine = machine
        self._memory = memory
        self._refs = tuple(refs)
        self._pages = pages
        self._open = True
        machine.opened.add(self)

    @property
    def address(self) -> int:
        return self._pages.address

    @property
    def length(self) -> int:
        return self._pages.length

    def close(self) -> None:
        if self._open:
            self._open = False
            self._machine.opened.discard(self)
            self._pages.close()
            self._machine.unmapped(self._memory, self._refs)

    kill = close
    """With the daemon's process."""


class MachineMemory:
    def __init__(self, kernel: SimKernel | None = None) -> None:
        self.kernel = SimKernel() if kernel is None else kernel
        self.process = Process()
        """The daemon's."""
        self.dmabufs = DmaBufs(self.process)
        self.opened: set[SimGrantMapping | SimExport] = set()
        """What the daemon's process has."""
        self.backend = BackendMemory()
        self._domains: dict[int, GuestMemory] = {}
        self._mapped: Counter[int] = Counter()
        self._cma_pages = 0
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def kill(self) -> None:
        """The daemon's process: its mappings and files are closed."""
        for each in list(self.opened):
            each.kill()
        self.opened.clear()

    def create(self, domid: int) -> GuestMemory:
        memory = self._domains[domid] = GuestMemory(domid, self.backend)
        return memory

    def destroy(self, domid: int) -> None:
        self._domains.pop(domid).close()

    def mapped(self, domid: int | None = None) -> int:
        """Grants mapped or exported now, of one domain or of all."""
        with self._lock:
            return self._mapped.total() if domid is None else self._mapped[domid]

    @property
    def zombies(self) -> set[int]:
        """Domains that are gone but for the pages that the backend still has of them."""
        with self._lock:
            return {domid for domid, count in self._mapped.items() if count} - self._domains.keys()

    @property
    def calls(self) -> Counter[str]:
        """How often each was called: ``maps``, ``exports``, ``unmaps``, ``grants``, ``shares``."""
        with self._lock:
            return self._calls.copy()

    def count_call(self, name: str) -> None:
        with self._lock:
            self._calls[name] += 1

    def memory_of(self, domid: int) -> GuestMemory | None:
        return self._domains.get(domid)

    def has_room(self, pages: int) -> bool:
        """In the map-track table."""
        return self.mapped() + pages <= self.kernel.maptrack

    def now_mapped(self, memory: GuestMemory, refs: Sequence[int]) -> None:
        with self._lock:
            self._mapped[memory.domid] += len(refs)

    def unmapped(self, memory: GuestMemory, refs: Sequence[int]) -> None:
        memory.unmapped(refs)
        with self._lock:
            self._calls["unmaps"] += 1
            self._mapped[memory.domid] -= len(refs)

    def take_contiguous(self, pages: int) -> bool:
        """From the backend domain's CMA area; whether there were so many."""
        with self._lock:
            if self._cma_pages + pages > self.kernel.cma_pages:
                return False
            self._cma_pages += pages
            return True

    def give_contiguous(self, pages: int) -> None:
        with self._lock:
            self._cma_pages -= pages


class SimGrantTable:
    """Fulfils :class:`xendisplback.host.GrantTable` for the domain ``mapper``."""

    def __init__(self, machine: MachineMemory, mapper: int) -> None:
        self._machine = machine
        self._mapper = mapper
        self._file: OpenFile | None = None
        self._granted: list[SimGrantedPages] = []

    @property
    def fd(self) -> int:
        return self._opened().fd

    def _opened(self) -> OpenFile:
        if self._file is None:
            self._file = OpenFile()
            self._machine.process.opened(self._file.close)
        return self._file

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> SimGrantMapping:
        def make(file: int, pages: list[int]) -> PageMapping:
            return PageMapping(file, pages, writable=writable)

        machine = self._machine
        machine.count_call("maps")
        memory = machine.memory_of(domid) if machine.has_room(len(refs)) else None
        mapping = (
            None if memory is None else memory.map(self._mapper, refs, make, writable=writable)
        )
        if memory is None or mapping is None:
            raise HostError(
                f"domain {domid} granted no such {len(refs)} pages, or no room for them",
                call="xengnttab_map_domain_grant_refs",
                errno=errno.EINVAL,
            )
        machine.now_mapped(memory, refs)
        return SimGrantMapping(machine, memory, refs, mapping)

    def export(self, domid: int, refs: Sequence[int], kind: ExportKind) -> SimExport:
        machine, kernel = self._machine, self._machine.kernel
        machine.count_call("exports")
        check_descriptors(2, "xengnttab_dmabuf_exp_from_refs")
        if not kernel.gntdev_dmabuf:
            raise _no_export("no such ioctl", errno.ENOTTY)
        if kernel.pv:
            raise _no_export("not in a PV domain", errno.EINVAL)
        contiguous = kind is not ExportKind.PLAIN
        taken = len(refs) if contiguous else 0
        if taken and not machine.take_contiguous(taken):
            raise _no_export(f"no {len(refs)} contiguous pages", errno.ENOMEM)

        def make(file: int, pages: list[int]) -> BufferPages:
            return BufferPages.exported(os.dup(file), pages, contiguous=contiguous)

        memory = machine.memory_of(domid) if machine.has_room(len(refs)) else None
        pages = None if memory is None else memory.map(self._mapper, refs, make, writable=True)
        if memory is None or pages is None:
            machine.give_contiguous(taken)
            raise _no_export(f"domain {domid} granted no such {len(refs)} pages", errno.EINVAL)
        used, file, refs = memory, pages.file, tuple(refs)

        def release() -> None:
            os.close(file)
            machine.unmapped(used, refs)
            machine.give_contiguous(taken)

        machine.now_mapped(memory, refs)
        return SimExport(machine.dmabufs.create(pages, release), machine.opened)

    def grant(self, domid: int, dmabuf: int, pages: int) -> SimGrantedPages:
        machine = self._machine
        machine.count_call("grants")
        buffer = machine.dmabufs.find(dmabuf)
        number = 0
        if not machine.kernel.gntdev_dmabuf:
            number = errno.ENOTTY
        elif buffer is None or buffer.size != pages * PAGE:
            number = errno.EINVAL
        if number or buffer is None:
            raise HostError(
                f"{pages} pages can't be granted to domain {domid}",
                call="xengnttab_dmabuf_imp_to_refs",
                errno=number,
            )
        granted = machine.backend.grant(domid, buffer, self._opened())
        self._granted.append(granted)
        return granted

    def share(self, domid: int, pages: int) -> SimSharedPages:
        self._machine.count_call("shares")
        return self._opened_pages(self._machine.backend.share(domid, pages))

    def share_again(self, fd: int, refs: Sequence[int]) -> SimSharedPages:
        return self._opened_pages(SimSharedPages(fd, refs))

    def _opened_pages(self, shared: SimSharedPages) -> SimSharedPages:
        self._machine.process.opened(shared.close)
        return shared

    def close(self) -> None:
        """Mappings outlive the handle, as they outlive gntdev's; while pages are granted it stays open."""
        if self._file is not None and not any(granted.open for granted in self._granted):
            self._file.close()


def _no_export(message: str, number: int) -> HostError:
    return HostError(message, call="xengnttab_dmabuf_exp_from_refs", errno=number)
