# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest chooses where its picture starts and how long its rows are: no choice is undefined behaviour."""

from __future__ import annotations

from pathlib import Path

from tests.copy.programs import HERE, PICTURES, SANITIZED, build, output


def test_pictures_at_odd_addresses_pass_the_sanitizers(tmp_path: Path) -> None:
    program = build(tmp_path / "odd", SANITIZED, HERE / "odd.c", *PICTURES)
    assert output(program) == "done\n"
