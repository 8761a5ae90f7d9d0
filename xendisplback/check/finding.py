# SPDX-License-Identifier: GPL-2.0-or-later
"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    FAILURE = "failure"
    """It will not work."""
    WARNING = "warning"
    """It works, but not as it reads."""


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    id: str
    """Stable, for programs."""
    text: str
    advice: str
    line: int | None = None
    """Of the file, from 1."""


def failure(identifier: str, text: str, advice: str, line: int | None = None) -> Finding:
    return Finding(Level.FAILURE, identifier, text, advice, line)


def warning(identifier: str, text: str, advice: str, line: int | None = None) -> Finding:
    return Finding(Level.WARNING, identifier, text, advice, line)
