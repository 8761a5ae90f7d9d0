# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon needs from its host, as protocols.

:mod:`xendisplback.native` fulfils them with Xen and libdrm, :mod:`xendisplback.sim` with a simulated
machine. The daemon knows only these. Calls marked *blocking* may take long and belong in a worker
thread; everything else returns at once. Every failure is a :class:`~xendisplback.errors.HostError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from xendisplback.errors import HostError
from xendisplback.kms.geometry import Geometry
from xendisplback.kms.mode import Mode
from xendisplback.xen.store import XenStore


class GrantMapping(Protocol):
    """Pages of a guest, contiguous in our address space, in the order of their references."""

    @property
    def address(self) -> int: ...
    @property
    def length(self) -> int:
        """Bytes: 4096 times the number of references."""
        ...

    def close(self) -> None:
        """Unmap. Blocking when large; idempotent."""
        ...


class ExportKind(IntEnum):
    """How a guest's pages become a dma-buf: the flags of IOCTL_GNTDEV_DMABUF_EXP_FROM_REFS."""

    PLAIN = 0
    """Mapped over any free page frames of the backend domain."""
    WRITE_COMBINED = 1
    """GNTDEV_DMA_FLAG_WC: over one contiguous allocation of the backend domain's memory (CMA)."""
    COHERENT = 2
    """GNTDEV_DMA_FLAG_COHERENT: the same, mapped coherently."""


class DmaBuf(Protocol):
    @property
    def fd(self) -> int: ...
    def close(self) -> None:
        """Give up ``fd`` and wait until the memory is released: nothing may import it any more.

        Blocking; idempotent. HostError ETIMEDOUT where something still holds it.
        """
        ...


class GrantedPages(Protocol):
    """Pages of ours that a guest may map, writable."""

    @property
    def refs(self) -> Sequence[int]:
        """One for each page."""
        ...

    def close(self) -> None:
        """Take the grants back. Blocking; idempotent."""
        ...


class SharedPages(GrantedPages, Protocol):
    """Granted pages that we can write too: ``length`` bytes at ``address``, zeroed."""

    @property
    def fd(self) -> int:
        """While it, or a copy of it, is open anywhere, they stay granted; they can be mapped from its offset 0."""
        ...

    @property
    def address(self) -> int: ...
    @property
    def length(self) -> int: ...


class GrantTable(Protocol):
    @property
    def fd(self) -> int:
        """While it, or a copy of it, is open anywhere, the grants of :meth:`grant` and their dma-bufs stay."""
        ...

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> GrantMapping:
        """Map ``refs`` of ``domid``. Blocking: a paged-out guest makes libxengnttab wait without bound."""
        ...

    def export(self, domid: int, refs: Sequence[int], kind: ExportKind) -> DmaBuf:
        """A dma-buf of ``refs`` of ``domid``; its release unmaps them. Blocking, as :meth:`map`.

        HostError: ENOTTY without CONFIG_XEN_GNTDEV_DMABUF, EINVAL in a PV domain or for a bad reference, ENOMEM
        where there is no contiguous memory.
        """
        ...

    def grant(self, domid: int, dmabuf: int, pages: int) -> GrantedPages:
        """Grant the ``pages`` pages of a dma-buf to ``domid``; it must have exactly as many. Blocking.

        Linux does not know how to free contiguous memory that the guest still maps: frontend/allocation.py.
        """
        ...

    def share(self, domid: int, pages: int) -> SharedPages:
        """Allocate and grant pages (gntalloc); the kernel keeps them until the guest unmapped them. Blocking."""
        ...

    def share_again(self, fd: int, refs: Sequence[int]) -> SharedPages:
        """What an earlier process's :meth:`share` made, of its file; owns ``fd``."""
        ...

    def close(self) -> None: ...


class EventChannels(Protocol):
    """The event channels of one connector: a handle that is restricted to its domain.

    Pending ports are read and unmasked in C: ``handle`` is what libxenevtchn's functions take first.
    """

    @property
    def fd(self) -> int:
        """Readable when a port is pending."""
        ...

    @property
    def handle(self) -> int: ...
    @property
    def pending_function(self) -> int:
        """C ``int (*)(void *)``: xenevtchn_pending(), a port, now masked; -1 with errno EAGAIN if none."""
        ...

    @property
    def unmask_function(self) -> int:
        """C ``int (*)(void *, uint32_t)``: xenevtchn_unmask()."""
        ...

    @property
    def notify_function(self) -> int:
        """C ``int (*)(void *, uint32_t)``: xenevtchn_notify()."""
        ...

    def bind(self, remote_port: int) -> int:
        """Bind to the guest's ``remote_port``; returns our local port. Raises a first event by itself."""
        ...

    def close(self) -> None: ...


class Connector(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str:
        """As the kernel prints it: ``HDMI-A-1``, ``Virtual-1``."""
        ...

    @property
    def connected(self) -> bool: ...
    @property
    def modes(self) -> Sequence[Mode]: ...
    @property
    def edid(self) -> bytes:
        """The monitor's EDID, b"" where there is none."""
        ...

    @property
    def possible_crtcs(self) -> int:
        """Bit n: the CRTC with index n can drive it (over all its encoders)."""
        ...

    @property
    def crtc_id(self) -> int:
        """The CRTC that drove it when it was probed last; 0: none."""
        ...


class Crtc(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def index(self) -> int: ...


class Plane(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def type(self) -> str:
        """``Primary``, ``Overlay`` or ``Cursor``."""
        ...

    @property
    def formats(self) -> frozenset[int]:
        """FourCC codes."""
        ...

    @property
    def possible_crtcs(self) -> int: ...
    @property
    def zpos(self) -> int | None:
        """Higher is nearer; None where the driver does not say."""
        ...

    @property
    def crtc_id(self) -> int:
        """What it was on at the last probe; 0: it was off."""
        ...

    @property
    def shadowed(self) -> bool:
        """The driver copies the framebuffer at each commit: what is drawn into it later shows with the next."""
        ...


KmsObject = Connector | Crtc | Plane


class Framebuffer(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def format(self) -> int: ...
    def close(self) -> None:
        """RmFB, then the memory. Idempotent. Blocking."""
        ...


class CardMemory(DmaBuf, Protocol):
    """A dumb buffer as a dma-buf: ``size`` bytes, rows of ``pitch``, ours to write at ``address``; zeroed."""

    @property
    def address(self) -> int: ...
    @property
    def pitch(self) -> int: ...
    @property
    def size(self) -> int: ...


class DumbFramebuffer(Framebuffer, Protocol):
    """A framebuffer in memory that we can write: ``height`` rows of ``pitch`` bytes at ``address``, zeroed."""

    @property
    def address(self) -> int: ...
    @property
    def pitch(self) -> int: ...
    @property
    def size(self) -> int: ...


class Blob(Protocol):
    @property
    def id(self) -> int: ...
    def close(self) -> None: ...


class PreparedCommit(Protocol):
    """One non-blocking commit with a page-flip event, laid out once and submitted any number of times.

    ``function`` is C ``int (*)(void *const *arguments, unsigned count)``: 0, or a negative errno. It submits the
    ``argument`` of each of several, for other planes of one CRTC, as one commit. Any thread may call it.
    """

    @property
    def function(self) -> int: ...
    @property
    def argument(self) -> int: ...
    def close(self) -> None: ...


class AtomicReq(Protocol):
    def add(self, obj: KmsObject, properties: Mapping[str, int]) -> None:
        """Property names as the kernel's, e.g. ``{"FB_ID": 42}``; HostError for one the object lacks."""
        ...

    def test(self, *, allow_modeset: bool = False) -> bool:
        """Whether the driver would take it (TEST_ONLY). Proves little about memory."""
        ...

    def commit(self, *, allow_modeset: bool = False) -> None:
        """Blocking commit without an event."""
        ...

    def prepare_flip(self, crtc: Crtc) -> PreparedCommit:
        """Lay the request out as a non-blocking commit whose event names ``crtc``."""
        ...


LEASE: Final = "lease:"
"""How the path of what a DRM lease holds begins; its name for messages follows."""


class Card(Protocol):
    """A KMS device of which we are DRM master."""

    @property
    def path(self) -> str: ...
    @property
    def driver(self) -> str: ...
    @property
    def fd(self) -> int:
        """Reads deliver DRM events, and block."""
        ...

    @property
    def connectors(self) -> Sequence[Connector]:
        """As of the last :meth:`probe`."""
        ...

    @property
    def crtcs(self) -> Sequence[Crtc]: ...
    @property
    def planes(self) -> Sequence[Plane]: ...
    @property
    def can_import(self) -> bool:
        """Whether the driver takes dma-bufs at all (DRM_PRIME_CAP_IMPORT)."""
        ...

    @property
    def scans_first_address(self) -> bool:
        """The driver takes any scatter list and shows what follows its first address (rcar-du with VSP).

        Memory that is not contiguous for the controller then shows wrong pixels, without an error.
        """
        ...

    def take_master(self) -> bool:
        """Become DRM master again, or see that we still are; False while another process is."""
        ...

    def matches(self, selector: str) -> bool:
        """Whether ``selector`` (a path, ``driver:NAME``, ``connector:NAME``) names this card."""
        ...

    def probe(self) -> None:
        """Read the connectors' status, modes and EDID anew. Blocking (DDC). HostError ENODEV: it is gone."""
        ...

    def dumb_framebuffer(self, width: int, height: int, fourcc: int) -> DumbFramebuffer:
        """Create, map and ADDFB2. Blocking."""
        ...

    def import_framebuffer(self, dmabuf: int, geometry: Geometry) -> Framebuffer:
        """PRIME import and ADDFB2; ``dmabuf`` may be closed afterwards. Blocking.

        HostError with ``call`` "drmPrimeFDToHandle" or "drmModeAddFB2", whichever was refused.
        """
        ...

    def dumb_memory(self, width: int, height: int, bits_per_pixel: int) -> CardMemory:
        """A dumb buffer, exported as a dma-buf (PRIME). Blocking."""
        ...

    def mode_blob(self, mode: Mode) -> Blob: ...
    def atomic(self) -> AtomicReq: ...
    @property
    def lit_before(self) -> frozenset[int]:
        """Ids of the connectors on which an earlier process left its pictures, as of the opening."""
        ...

    @property
    def before(self) -> bytes:
        """What was on screen when we came, for the next process: :class:`KeptCard`."""
        ...

    def remove_left(self) -> None:
        """Take what an earlier process left off the screen, and free it. Blocking."""
        ...

    def close(self) -> None:
        """Put back what was on screen when we came, or blank; drop master; close. Blocking."""
        ...


@dataclass(frozen=True, slots=True)
class KeptCard:
    """An earlier process's: its file, on which its framebuffers still are, and :attr:`Card.before`."""

    fd: int
    before: bytes


NONE_KEPT: Mapping[str, KeptCard] = {}


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What kind of domain we run in. It decides what a dma-buf of grants can be."""

    pv: bool
    """x86 PV: page tables hold machine addresses, and gntdev exports nothing."""
    direct_mapped: bool
    """Our physical addresses are the machine's (XENFEAT_direct_mapped), but for pages mapped from guests."""


class FdStore(Protocol):
    """What stays open when this process ends."""

    @property
    def available(self) -> bool: ...
    def keep(self, name: str, fd: int) -> None:
        """Hold what is open as ``fd``."""
        ...

    def drop(self, name: str) -> None:
        """Close all that is held under ``name``."""
        ...

    def take(self) -> Mapping[str, Sequence[int]]:
        """Copies of what an earlier process left, by name; the caller closes them. {} from the second call on."""
        ...


@dataclass(frozen=True, slots=True)
class DisplayChange:
    """A card appeared, changed (monitors, leases), or is ``gone``."""

    path: str | None
    """Its device file; None: any may have changed."""
    gone: bool


class Host(Protocol):
    """The machine. One per daemon."""

    def fd_store(self) -> FdStore: ...

    def domain_facts(self) -> DomainFacts: ...

    def store(self) -> AbstractAsyncContextManager[XenStore]: ...
    def grant_table(self) -> GrantTable: ...
    def event_channels(self, domid: int) -> EventChannels:
        """A new handle, restricted to ``domid`` where the kernel can."""
        ...

    def display_changes(self) -> AbstractAsyncContextManager[AsyncIterator[DisplayChange]]: ...
    def open_lease(self, fd: int, name: str) -> Card:
        """What a DRM lease holds, as a card with the path ``lease:NAME``; owns ``fd`` in any case. Blocking."""
        ...

    def open_cards(
        self,
        selectors: Iterable[str],
        held: Iterable[str] = (),
        kept: Mapping[str, KeptCard] = NONE_KEPT,
    ) -> tuple[Sequence[Card], Sequence[HostError]]:
        """Open the cards that ``selectors`` name (empty: every card with KMS), but for paths ``held``. Blocking.

        Those at a path of ``kept`` are taken over from an earlier process; its files stay the caller's.

        A selector is a path, ``driver:NAME`` or ``connector:NAME``. What could not be opened is returned
        beside what could: one broken card must not take the others' screens.
        """
        ...
