# SPDX-License-Identifier: GPL-2.0-or-later
"""What one domain's pictures may be shown on, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Permission:
    source: str
    """The configuration's table that says so, for messages."""
    outputs: frozenset[str] | None
    """None: all."""
    zero_copy: bool
    be_alloc: bool

    def may_show_on(self, output: str) -> bool:
        return self.outputs is None or output in self.outputs


ANYTHING: Final = Permission("", None, zero_copy=True, be_alloc=True)
