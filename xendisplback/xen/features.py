# SPDX-License-Identifier: GPL-2.0-or-later
"""What kind of domain we run in, as sysfs tells it."""

from __future__ import annotations

from pathlib import Path

from xendisplback.host import DomainFacts

HYPERVISOR = Path("/sys/hypervisor")
XENFEAT_DIRECT_MAPPED = 17
"""xen/include/public/features.h; since Xen 4.14."""


def read_domain_facts(root: Path = HYPERVISOR) -> DomainFacts:
    """What a file does not tell is taken as not so: the call that it concerns then says what is wrong."""
    return DomainFacts(
        pv=_read(root / "guest_type") == "PV",
        direct_mapped=bool(
            int(_read(root / "properties" / "features") or "0", 16) >> XENFEAT_DIRECT_MAPPED & 1
        ),
    )


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
