# SPDX-License-Identifier: GPL-2.0-or-later
"""ARM64: the display controller that rig_display.ko models, loaded anew for each model."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from tests.rig.dom0_link import Dom0
from tests.rig.machines.arm64 import BOCHS_ADDRESS
from tests.rig.rig import Rig

BOCHS_DRIVER = "/sys/bus/pci/drivers/bochs-drm"


class Controller:
    """Its outputs are HDMI-A-1 (screen 2) and, with two heads, HDMI-A-2 (bochs-display, screen 1)."""

    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0

    def counter(self, name: str) -> int:
        """``commits``, ``modesets``, ``imports``, ``copied`` bytes, ``faults``."""
        return int(self._dom0.get(f"/sys/module/rig_display/parameters/{name}"))


@contextmanager
def controller(
    rig: Rig, parameters: str, *, heads: int = 1, toml: str = ""
) -> Generator[Controller]:
    """The module loaded with ``parameters`` ("iommu=1"), and the daemon on it with ``toml`` as configuration.

    Afterwards the daemon is stopped.
    """
    rig.daemon.stop()
    if heads == 2:
        rig.dom0.shell(f"echo {BOCHS_ADDRESS} >{BOCHS_DRIVER}/unbind")
        parameters += f" head2={BOCHS_ADDRESS}"
    rig.dom0.shell(f"dmesg -C; insmod /root/rig_display.ko {parameters}")
    try:
        with rig.daemon.configured(toml):
            yield Controller(rig.dom0)
    finally:
        # Also after a failure: it holds the card.
        rig.daemon.stop()
        rig.dom0.shell("rmmod rig_display")
        if heads == 2:
            rig.dom0.shell(f"echo {BOCHS_ADDRESS} >{BOCHS_DRIVER}/bind")
