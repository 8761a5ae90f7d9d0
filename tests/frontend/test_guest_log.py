# SPDX-License-Identifier: GPL-2.0-or-later
"""The limit to what one guest can write into the log."""

from __future__ import annotations

import logging

import pytest

from xendisplback.frontend.device import GUEST_LINES, GUEST_LINES_SECONDS, GuestLines, GuestLog

logger = logging.getLogger("xendisplback.test")


def test_of_each_kind_so_many_lines_a_minute_and_one_that_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    now = 1000.0
    monkeypatch.setattr("xendisplback.frontend.device.time.monotonic", lambda: now)
    lines = GuestLines()
    for _ in range(3 * GUEST_LINES):
        # A connection anew has a log anew, and the same limit.
        GuestLog(logger, "dom 1", lines).info("off")
    GuestLog(logger, "dom 1", lines).info("on %d", 1)
    GuestLog(logger, "dom 2", lines).info("off")
    more = "dom 1: more like the line before are not logged for a minute"
    assert caplog.messages == ["dom 1: off"] * GUEST_LINES + [more, "dom 1: on 1", "dom 2: off"]
    now += GUEST_LINES_SECONDS
    GuestLog(logger, "dom 1", lines).info("off")
    assert caplog.messages[-1] == "dom 1: off"


def test_our_own_faults_are_always_logged(caplog: pytest.LogCaptureFixture) -> None:
    log = GuestLog(logger, "dom 1", GuestLines())
    for _ in range(2 * GUEST_LINES):
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            log.exception("a fault")
    assert caplog.messages == ["dom 1: a fault"] * (2 * GUEST_LINES)
