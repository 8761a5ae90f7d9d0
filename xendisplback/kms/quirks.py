# SPDX-License-Identifier: GPL-2.0-or-later
"""What drivers don't tell about themselves. The kernel's source is the source, named with each entry."""

from __future__ import annotations

import os
from pathlib import Path

SYSFS_DEVICES = Path("/sys/dev/char")

_SCAN_FROM_FIRST_ADDRESS = {
    # R-Car Gen3 and later, where a VSP reads the memory: rcar_du_gem_prime_import_sg_table() takes any scatter
    # list, and rcar_du_vsp_plane_setup() gives the VSP the first DMA address of each plane, without a look at
    # the rest (drivers/gpu/drm/renesas/rcar-du). rcar_du_vsps_init() still knows the older name. Without a VSP
    # the import wants contiguous memory; so does rzg2l-du, with one.
    "rcar-du": ("renesas,vsps", "vsps"),
}
"""By driver, device tree properties of which a node of the kind has one."""


def scans_first_address(driver: str, fd: int, sysfs: Path = SYSFS_DEVICES) -> bool:
    """Whether the driver of the open card ``fd`` shows what follows a buffer's first address, buffer or not."""
    properties = _SCAN_FROM_FIRST_ADDRESS.get(driver)
    if properties is None:
        return False
    number = os.fstat(fd).st_rdev
    node = sysfs / f"{os.major(number)}:{os.minor(number)}" / "device" / "of_node"
    return any((node / name).exists() for name in properties)
