# SPDX-License-Identifier: GPL-2.0-or-later
"""What a display controller wants of the memory that it shows, and how its driver says no."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from xendisplback.kms.geometry import Geometry
from xendisplback.protocol.formats import FORMATS
from xendisplback.sim.dmabuf import BufferPages
from xendisplback.sim.kms_state import Refused

SWIOTLB_PAGES = 64
"""What swiotlb bounces in one piece: 256 KiB (IO_TLB_SEGSIZE)."""


class MemoryNeeds(Enum):
    ANY = auto()
    """Scatter-gather, or page tables of its own."""
    CONTIGUOUS = auto()
    """drm_gem_dma_prime_import_sg_table(): anything else is EINVAL at the import."""
    SWIOTLB = auto()
    """Contiguous, by the DMA API: more than ``SWIOTLB_PAGES`` in pieces are ENOMEM at the import."""
    FIRST_ADDRESS = auto()
    """rcar-du with VSP: takes everything, and shows what follows the first address."""


@dataclass(slots=True)
class Controller:
    """Its fields may be changed at any time."""

    can_import: bool = True
    needs: MemoryNeeds = MemoryNeeds.ANY
    iommu: bool = False
    pitch_align: int = 1
    """ADDFB2 of an imported buffer refuses other pitches with EINVAL."""
    dumb_pitch_align: int = 256
    """Drivers align rows to what their hardware wants: a pitch that is rarely exact, as most have."""
    refuse_imported: int = 0
    """The errno that a commit which shows an imported framebuffer gets, but not a TEST_ONLY one; 0: none."""

    def admit(self, buffer: BufferPages) -> Sequence[int]:
        """The pages that it will show for ``buffer``. Raises Refused."""
        if not self.can_import:
            raise Refused(errno.ENOSYS, "the driver has no PRIME import")
        if self.needs is MemoryNeeds.FIRST_ADDRESS:
            return buffer.seen(iommu=self.iommu)
        if not buffer.is_contiguous(iommu=self.iommu):
            if self.needs is MemoryNeeds.CONTIGUOUS:
                raise Refused(errno.EINVAL, "not contiguous")
            if self.needs is MemoryNeeds.SWIOTLB and len(buffer.pages) > SWIOTLB_PAGES:
                raise Refused(errno.ENOMEM, "swiotlb buffer is full")
        return buffer.pages

    def check_geometry(self, geometry: Geometry, size: int) -> None:
        """For an imported buffer of ``size`` bytes. Raises Refused."""
        row = geometry.width * FORMATS[geometry.format].bytes_per_pixel
        if geometry.pitch < row or geometry.pitch % self.pitch_align:
            raise Refused(errno.EINVAL, f"a pitch of {geometry.pitch}")
        if geometry.offset + geometry.pitch * (geometry.height - 1) + row > size:
            raise Refused(errno.EINVAL, f"a buffer of only {size} bytes")
