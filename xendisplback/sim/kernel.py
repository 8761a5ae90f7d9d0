# SPDX-License-Identifier: GPL-2.0-or-later
"""What differs between the kernels and domains that a backend runs in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class SimKernel:
    """The backend domain's. Its fields may be changed at any time; the defaults are a stock Debian kernel's."""

    gntdev_dmabuf: bool = False
    """CONFIG_XEN_GNTDEV_DMABUF: grants become dma-bufs, and dma-bufs can be granted."""
    cma_pages: int = 16384
    """How many pages write-combined and coherent exports may take together."""
    maptrack: int = 262144
    """How many pages of guests the backend domain can have mapped: Xen's map-track table. Linux says EINVAL."""
    pv: bool = False
    direct_mapped: bool = False
