# SPDX-License-Identifier: GPL-2.0-or-later
"""What all frontends share."""

from __future__ import annotations

from dataclasses import dataclass

from xendisplback.frontend.allocation import Allocator
from xendisplback.frontend.budget import Budgets
from xendisplback.frontend.policy import Policy
from xendisplback.host import FdStore, GrantTable, Host
from xendisplback.kept import Kept
from xendisplback.scanout.outputs import Outputs
from xendisplback.xen.store import XenStore


@dataclass(frozen=True, slots=True)
class Backend:
    host: Host
    store: XenStore
    grants: GrantTable
    allocator: Allocator
    outputs: Outputs
    fd_store: FdStore
    budgets: Budgets
    policy: Policy
    kept: Kept
    """What an earlier process left."""
