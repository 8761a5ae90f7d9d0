# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cards show what follows a buffer's first address, from a sysfs as Linux lays it out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xendisplback.kms.quirks import scans_first_address


@pytest.mark.parametrize(
    ("driver", "node_properties", "expected"),
    [
        ("rcar-du", ["compatible", "renesas,vsps"], True),
        ("rcar-du", ["compatible", "vsps"], True),
        ("rcar-du", ["compatible"], False),
        ("rzg2l-du", ["compatible", "renesas,vsps"], False),
        ("virtio_gpu", ["compatible"], False),
    ],
)
def test_by_driver_and_device_tree(
    tmp_path: Path, driver: str, node_properties: list[str], expected: bool
) -> None:
    with open(os.devnull, "rb") as card:
        number = os.fstat(card.fileno()).st_rdev
        node = tmp_path / f"{os.major(number)}:{os.minor(number)}" / "device" / "of_node"
        node.mkdir(parents=True)
        for name in node_properties:
            (node / name).touch()
        assert scans_first_address(driver, card.fileno(), tmp_path) is expected


def test_no_device_tree(tmp_path: Path) -> None:
    with open(os.devnull, "rb") as card:
        assert not scans_first_address("rcar-du", card.fileno(), tmp_path)
