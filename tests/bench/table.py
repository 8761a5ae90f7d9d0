# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of ``make bench``: a row for each figure, with its bar if it has one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from tests.bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Row:
    name: str
    value: str
    bar: str = ""
    kept: bool | None = None
    """None: no bar."""

    @classmethod
    def at_most(cls, name: str, spread: Spread, bar: float, digits: int = 1) -> Self:
        """The median counts."""
        return cls(name, spread.text(digits), f"<= {bar:g}", spread.median <= bar)

    @classmethod
    def of(cls, name: str, spread: Spread, digits: int = 2) -> Self:
        return cls(name, spread.text(digits))


def print_rows(title: str, rows: list[Row]) -> None:
    print(f"\n{title}")
    name_width = max(len(row.name) for row in rows)
    value_width = max(len(row.value) for row in rows)
    for row in rows:
        verdict = "" if row.kept is None else "  kept" if row.kept else "  MISSED"
        print(
            f"  {row.name:{name_width}}  {row.value:{value_width}}  {row.bar:7}{verdict}".rstrip(),
            flush=True,
        )
