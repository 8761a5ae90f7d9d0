# SPDX-License-Identifier: GPL-2.0-or-later
"""All scripted attacks, in the order in which one domain can play them: the last one leaves its nodes spoilt."""

from __future__ import annotations

from tests.hostile import cases_buffers, cases_rings, cases_store
from tests.hostile.case import CASES, Case, End, play

__all__ = ["ALL", "Case", "End", "play"]

_FILES = [module.__name__ for module in (cases_rings, cases_buffers, cases_store)]
ALL = sorted(CASES, key=lambda item: _FILES.index(item.function.__module__))
