# SPDX-License-Identifier: GPL-2.0-or-later
"""What kind of domain this is, from files as Linux writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from xendisplback.host import DomainFacts
from xendisplback.xen.features import read_domain_facts

X86, ARM = "x86_64", "aarch64"
ARM_DOM0 = "00026805"
"""Xen 4.17: direct_mapped, ARM_SMCCC, memory_op_vnode, dom0, auto_translated_physmap, writable_page_tables."""
ARM_DOMU = "00016005"
ARM_DOM0_XEN_4_14, ARM_DOMU_XEN_4_14 = "00006805", "00006005"
PVH_DOM0, PV_DOM0 = "00012b05", "000128f1"


@pytest.mark.parametrize(
    ("machine", "guest_type", "features", "expected"),
    [
        (ARM, "Xen", ARM_DOM0, DomainFacts(pv=False, direct_mapped=True)),
        (ARM, "Xen", ARM_DOMU, DomainFacts(pv=False, direct_mapped=False)),
        (ARM, "Xen", ARM_DOM0_XEN_4_14, DomainFacts(pv=False, direct_mapped=True)),
        (ARM, "Xen", ARM_DOMU_XEN_4_14, DomainFacts(pv=False, direct_mapped=False)),
        (ARM, None, None, DomainFacts(pv=False, direct_mapped=True)),
        ("armv7l", None, None, DomainFacts(pv=False, direct_mapped=True)),
        (ARM, "Xen", "garbage", DomainFacts(pv=False, direct_mapped=True)),
        (X86, "PV", PV_DOM0, DomainFacts(pv=True, direct_mapped=False)),
        (X86, "PVH", PVH_DOM0, DomainFacts(pv=False, direct_mapped=False)),
        (X86, "HVM", "00002b05", DomainFacts(pv=False, direct_mapped=False)),
        (X86, None, PV_DOM0, DomainFacts(pv=True, direct_mapped=False)),
        (X86, None, PVH_DOM0, DomainFacts(pv=False, direct_mapped=False)),
        (X86, "PV", None, DomainFacts(pv=True, direct_mapped=False)),
        (X86, None, None, DomainFacts(pv=False, direct_mapped=False)),
    ],
)
def test_facts(
    tmp_path: Path,
    machine: str,
    guest_type: str | None,
    features: str | None,
    expected: DomainFacts,
) -> None:
    (tmp_path / "properties").mkdir()
    if guest_type is not None:
        (tmp_path / "guest_type").write_text(f"{guest_type}\n")
    if features is not None:
        (tmp_path / "properties" / "features").write_text(f"{features}\n")
    assert read_domain_facts(tmp_path, machine) == expected


def test_a_machine_without_these_files() -> None:
    assert read_domain_facts(Path("/nonexistent"), X86) == DomainFacts(
        pv=False, direct_mapped=False
    )
