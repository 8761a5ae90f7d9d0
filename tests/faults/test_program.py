# SPDX-License-Identifier: GPL-2.0-or-later
"""Faults of a whole process: no descriptors, nowhere to write logs, XenStore restarted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SECONDS = 100.0


def run(fault: str, folder: Path, stderr: int) -> dict[str, Any]:
    """What program.py saw; it exits with 0."""
    read, write = os.pipe()
    try:
        script = f'exec "$@" 3>&{write}'
        command = [sys.executable, "-m", "tests.faults.program", fault, str(folder)]
        done = subprocess.run(
            ["bash", "-c", script, "bash", *command],
            check=False,
            stderr=stderr,
            pass_fds=[write],
            timeout=SECONDS,
        )
        os.write(write, b" ")
        text = os.read(read, 65536)
    finally:
        os.close(read)
        os.close(write)
    assert done.returncode == 0
    seen: dict[str, Any] = json.loads(text)
    return seen


GOOD = {"codes": [0], "fresh": True, "mapped": 0}


def test_a_full_disk_for_logs_is_no_fault_of_the_daemon(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        assert run("nothing", tmp_path, full.fileno()) == GOOD


def test_nobody_who_reads_the_log_is_no_fault_of_the_daemon(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert run("nothing", tmp_path, write) == GOOD
    finally:
        os.close(write)


def test_xenstore_s_end_ends_the_daemon_for_systemd_to_start_it_anew(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, with everything released; the guest that was shown is served by the next one."""
    seen = run("store", tmp_path, 2)
    assert seen.pop("codes") == [1, 0]
    assert seen == {"restarts": 1, "again": True, "released": True, "fresh": True, "mapped": 0}
    log = capfd.readouterr().err
    assert "XenStore ended the connection" in log
    assert "Traceback" not in log


def test_without_descriptors_guests_and_cards_are_refused_and_later_served(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = run("files", tmp_path, 2)
    for number, (another_went_on, released) in enumerate(seen.pop("results")):
        assert another_went_on, f"{number} descriptors: another guest was kept waiting"
        assert released, f"{number} descriptors: something of the guest is left"
    assert seen.pop("card") == [True, True]
    assert seen == {**GOOD, "released": True, "timeouts": 0, "framebuffers": 0}
    log = capfd.readouterr().err
    assert "Traceback" not in log
    for call in ("xenevtchn_open", "eventfd", "drmModeCreateDumbBuffer", "card not used: "):
        assert call in log, call
