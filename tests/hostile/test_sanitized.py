# SPDX-License-Identifier: GPL-2.0-or-later
"""The C code's own fuzzer, for a moment, and that it sees what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.copy.programs import SOURCES
from tests.hostile.sanitized import Found, fuzz_memory


def test_no_ring_and_no_picture_reaches_beyond_its_memory(tmp_path: Path) -> None:
    rings, _, pictures, _ = fuzz_memory(tmp_path, "test", 1).split()
    assert int(rings) > 0
    assert int(pictures) > 0


def test_an_event_behind_the_page_is_found(tmp_path: Path) -> None:
    text = (SOURCES / "flip_ring.c").read_text()
    wrong = text.replace("EVENT_SLOTS = 63", "EVENT_SLOTS = 64")
    assert wrong != text
    (tmp_path / "flip_ring.c").write_text(wrong)
    with pytest.raises(Found, match="heap-buffer-overflow"):
        fuzz_memory(tmp_path, "test", 5, tmp_path / "flip_ring.c")


def test_a_request_that_is_not_there_is_found(tmp_path: Path) -> None:
    text = (SOURCES / "flip_ring.c").read_text()
    wrong = text.replace("ahead > RING_SLOTS ||", "")
    assert wrong != text
    (tmp_path / "flip_ring.c").write_text(wrong)
    with pytest.raises(Found, match="more requests than slots"):
        fuzz_memory(tmp_path, "test", 5, tmp_path / "flip_ring.c")
