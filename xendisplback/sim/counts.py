# SPDX-License-Identifier: GPL-2.0-or-later
"""How often the daemon called its host: so that a test can show what a flip does not do."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls since the start, refused ones too; subtract two to see what was called between."""

    maps: int = 0
    exports: int = 0
    unmaps: int = 0
    """Of mappings and exports."""
    grants: int = 0
    shares: int = 0
    imports: int = 0
    addfb: int = 0
    """Of dumb buffers too."""
    dumb: int = 0
    """Dumb buffers allocated, whether for a framebuffer or for a guest."""
    commits: int = 0
    """Accepted ones only."""

    def __sub__(self, earlier: Counts) -> Counts:
        names = [field.name for field in fields(self)]
        return Counts(**{name: getattr(self, name) - getattr(earlier, name) for name in names})
