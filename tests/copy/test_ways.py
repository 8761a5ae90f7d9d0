# SPDX-License-Identifier: GPL-2.0-or-later
"""The sets of instructions among which the start of the daemon chooses differ in time only."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from tests.copy.programs import HERE, OPTIMIZED, PICTURES, SANITIZED, build, output
from xendisplback.protocol.formats import fourcc
from xendisplback.scanout.copy_job import CopyJob, choose_copy


def test_every_way_copies_the_same_and_digests_the_same(tmp_path: Path) -> None:
    program = build(tmp_path / "ways", SANITIZED, HERE / "ways.c", *PICTURES)
    tried = output(program).splitlines()
    assert tried[:2] == ["memcpy", "words"]
    assert len(tried) >= 3, "one with vectors at least"


def test_every_pixel_value_is_converted_exactly(tmp_path: Path) -> None:
    """All 2^16 and all 2^24 of them, with the least and with the best instructions."""
    program = build(tmp_path / "exact", OPTIMIZED, HERE / "exact.c")
    assert output(program) == "done\n"


def test_the_choice_takes_little_of_the_start_and_changes_no_digest() -> None:
    picture = ctypes.create_string_buffer(b"picture" * 1000)
    at, code = ctypes.addressof(picture), fourcc("XR24")
    job = CopyJob(at, 4 * 40, 0, 4 * 40, 40, 30, code, code)
    before = job.digest()
    started = time.thread_time()
    for _ in range(5):
        choose_copy.__wrapped__()
        assert job.digest() == before
    assert (time.thread_time() - started) / 5 < 0.05
