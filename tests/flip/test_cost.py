# SPDX-License-Identifier: GPL-2.0-or-later
"""What a flip costs beside its system calls, in instructions, which no busy machine falsifies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flip.programs import instructions_per_flip

LIMIT = 1700
"""Seen: 1510 to 1545, with the test's guest and card."""


@pytest.mark.parametrize("connectors", [1, 64])
def test_a_flip_takes_few_instructions_also_among_many_guests(
    tmp_path: Path, connectors: int
) -> None:
    assert 100 < instructions_per_flip(tmp_path, connectors) <= LIMIT
