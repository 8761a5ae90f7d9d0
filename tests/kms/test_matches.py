# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether a selector names an opened card."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kms.test_device import open_fake, returns
from xendisplback.errors import HostError
from xendisplback.kms.card import Card
from xendisplback.kms.connector import Connector, ConnectorState


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    def capability(fd: int, number: int, value: list[int]) -> int:
        value[0] = 1
        return 0

    def connectors(self: Card) -> list[Connector]:
        return [Connector(30, "HDMI-A-1", ConnectorState("disconnected", (), b"", 1, 0))]

    monkeypatch.setattr(Card, "_plane_ids", returns([]))
    monkeypatch.setattr("xendisplback.kms.card.read_screen", returns(None))
    monkeypatch.setattr(Card, "connectors", property(connectors))
    return open_fake(monkeypatch, drmGetCap=capability)


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("/dev/dri/card0", True),
        ("/dev/dri/../dri/card0", True),
        ("/dev/dri/card1", False),
        ("driver:fake", True),
        ("driver:fak", False),
        ("driver:rcar-du", False),
        ("connector:HDMI-A-1", True),
        ("connector:HDMI-A-2", False),
    ],
)
def test_matches(card: Card, selector: str, expected: bool) -> None:
    assert card.matches(selector) is expected


def test_a_link_names_the_card_that_it_leads_to(card: Card, tmp_path: Path) -> None:
    link = tmp_path / "platform-feb00000.display-card"
    link.symlink_to("/dev/dri/card0")
    assert card.matches(str(link))


@pytest.mark.parametrize("selector", ["", "card0", "driver:", "connector:", "bus:0"])
def test_what_is_no_selector_is_refused_as_for_opening(card: Card, selector: str) -> None:
    with pytest.raises(HostError, match=r"not understood; write a path \(/dev/dri/card0\)"):
        card.matches(selector)
