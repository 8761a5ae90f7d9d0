# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenarios; importing a module registers its own. ``ORDER`` is that of a run: the usual first."""

from __future__ import annotations

from tests.rig.scenario import SCENARIOS, Scenario
from tests.rig.scenarios import (
    be_alloc,
    endings,
    faults,
    figures,
    flips,
    hostile,
    hotplug,
    latency,
    layers,
    modes,
    pictures,
    privileges,
    refusals,
    restarts,
    routing,
    safe_states,
    sharing,
    starting,
    toolstack,
    two_screens,
    xenbus_device,
    zero_copy,
)

ORDER = [
    module.__name__
    for module in (
        starting,
        privileges,
        xenbus_device,
        pictures,
        flips,
        figures,
        two_screens,
        refusals,
        toolstack,
        endings,
        restarts,
        faults,
        zero_copy,
        be_alloc,
        hotplug,
        modes,
        layers,
        routing,
        safe_states,
        sharing,
        latency,
        hostile,
    )
]


def in_order(machine: str) -> list[Scenario]:
    """Those of the machine of that name."""
    here = [item for item in SCENARIOS if machine in item.machines]
    return sorted(here, key=lambda item: ORDER.index(item.function.__module__))
