# SPDX-License-Identifier: GPL-2.0-or-later
"""What drivers don't tell about themselves."""

from __future__ import annotations

import os
from pathlib import Path

SYSFS_DEVICES = Path("/sys/dev/char")

_SCAN_FROM_FIRST_ADDRESS = {"rcar-du": "renesas,vsps"}
"""By driver, the device tree property of the variant.

rcar-du with VSP (R-Car Gen3 and later): rcar_du_gem_prime_import_sg_table() takes any scatter list, and
rcar_du_vsp_map_fb() gives the VSP the first DMA address of each plane (linux/drivers/gpu/drm/renesas/rcar-du).
"""


def scans_first_address(driver: str, path: str, sysfs: Path = SYSFS_DEVICES) -> bool:
    """Whether the driver of the card at ``path`` shows what follows a buffer's first address, buffer or not."""
    node = _SCAN_FROM_FIRST_ADDRESS.get(driver)
    if node is None:
        return False
    number = os.stat(path).st_rdev
    device = sysfs / f"{os.major(number)}:{os.minor(number)}" / "device"
    return (device / "of_node" / node).exists()
