# SPDX-License-Identifier: GPL-2.0-or-later
"""The soak is able to fail, and what it leaves can be read."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest
import trio

from tests.soak import world
from tests.soak.__main__ import soak
from tests.soak.chart import PANEL, WIDTH, Panel, draw
from tests.soak.life import SoakFailed
from xendisplback.frontend.memory import GuestMemory
from xendisplback.scanout.source import Source

SECONDS = 2.0


async def fails(path: Path, message: str) -> None:
    with (
        trio.fail_after(60),
        pytest.RaisesGroup(pytest.RaisesExc(SoakFailed, match=message), flatten_subgroups=True),
    ):
        await soak(SECONDS, "test", path)


async def test_a_short_one_passes_and_is_kept(tmp_path: Path) -> None:
    with trio.fail_after(90):
        samples = await soak(SECONDS, "test", tmp_path)
    with open(tmp_path / "soak.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(samples)
    assert max(float(row["flips"]) for row in rows) > 0
    assert (rows[-1]["grants"], rows[-1]["ports"], rows[-1]["framebuffers"]) == ("0", "0", "0")
    assert (tmp_path / "soak.png").stat().st_size > 1000


async def test_what_is_left_behind_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "RELEASE_SECONDS", 7.0)

    def forgetful(memory: GuestMemory) -> None:
        pass

    monkeypatch.setattr(GuestMemory, "close", forgetful)
    await fails(tmp_path, "left behind.*mapped grants")


async def test_a_fault_in_the_log_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Source.release

    async def faulty(source: Source) -> None:
        await release(source)
        logging.getLogger("xendisplback").error("oh", exc_info=ValueError("no"))

    monkeypatch.setattr(Source, "release", faulty)
    await fails(tmp_path, "fault of its own")


def test_the_chart_has_a_panel_for_each(tmp_path: Path) -> None:
    panels = [Panel("a", [("x", [0, 1, 2]), ("y", [2, 1, 0])]), Panel("b", [("z", [0, 0, 0])])]
    draw(tmp_path / "chart.png", [0, 1, 2], panels)
    data = (tmp_path / "chart.png").read_bytes()
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    assert width == WIDTH
    assert height > 2 * PANEL
