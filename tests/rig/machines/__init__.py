# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated machines: what each is made of, how its parts are built, and which screens it has.

``kind.py`` says what a machine is to the rest of the rig; one file for each.
"""

from __future__ import annotations

from tests.rig.machines.arm64 import ARM64
from tests.rig.machines.kind import MachineKind
from tests.rig.machines.x86_64 import X86_64

# In the order of a run: the quicker one first.
MACHINES: dict[str, MachineKind] = {kind.name: kind for kind in (X86_64, ARM64)}
