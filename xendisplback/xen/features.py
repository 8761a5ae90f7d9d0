# SPDX-License-Identifier: GPL-2.0-or-later
"""What kind of domain we run in, as sysfs tells it (linux/Documentation/ABI/*/sysfs-hypervisor-xen)."""

from __future__ import annotations

import platform
from pathlib import Path

from xendisplback.host import DomainFacts

HYPERVISOR = Path("/sys/hypervisor")

# xen/include/public/features.h
XENFEAT_AUTO_TRANSLATED_PHYSMAP = 2
XENFEAT_DOM0 = 11
XENFEAT_NOT_DIRECT_MAPPED = 16
XENFEAT_DIRECT_MAPPED = 17


def read_domain_facts(root: Path = HYPERVISOR, machine: str = platform.machine()) -> DomainFacts:
    """Never fails. What the files don't tell is taken as follows.

    ``pv``: without ``guest_type`` (before Linux 4.13), a domain whose page tables Xen does not translate;
    without ``properties/features`` too, False: an export then says EINVAL, as it does in a PV domain.

    ``direct_mapped``: where Xen has neither flag (before 4.15), ARM's dom0, as Linux takes it; without
    ``properties/features``, any ARM domain: a copy too many is better than a wrong picture.
    """
    arm = machine.startswith(("aarch64", "arm"))
    guest_type = _read(root / "guest_type")
    features = _features(root / "properties" / "features")
    if features is None:
        return DomainFacts(pv=guest_type == "PV", direct_mapped=arm)

    def has(feature: int) -> bool:
        return bool(features >> feature & 1)

    return DomainFacts(
        pv=guest_type == "PV" if guest_type else not has(XENFEAT_AUTO_TRANSLATED_PHYSMAP),
        direct_mapped=has(XENFEAT_DIRECT_MAPPED)
        or (arm and has(XENFEAT_DOM0) and not has(XENFEAT_NOT_DIRECT_MAPPED)),
    )


def _features(path: Path) -> int | None:
    try:
        return int(_read(path), 16)
    except ValueError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""
