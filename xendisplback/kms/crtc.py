# SPDX-License-Identifier: GPL-2.0-or-later
"""CRTCs: each scans out one picture at one mode."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Crtc:
    id: int
    index: int
    """Its bit in ``possible_crtcs``."""
