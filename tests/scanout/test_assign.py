# SPDX-License-Identifier: GPL-2.0-or-later
"""Which CRTC and plane serve which connector."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from xendisplback.kms.mode import Mode
from xendisplback.scanout.assign import assign_crtcs, primary_planes


@dataclass
class FakeConnector:
    id: int
    possible_crtcs: int
    connected: bool = True
    name: str = "HDMI-A-1"
    modes: list[Mode] = field(default_factory=list[Mode])
    edid: bytes = b""


@dataclass
class FakeCrtc:
    id: int
    index: int


@dataclass
class FakePlane:
    id: int
    possible_crtcs: int
    type: str = "Primary"
    formats: frozenset[int] = frozenset()
    shadowed: bool = False


CRTCS = [FakeCrtc(100 + index, index) for index in range(4)]


def test_a_connector_with_one_choice_moves_another_that_has_two() -> None:
    both, only_first = FakeConnector(1, 0b11), FakeConnector(2, 0b01)
    assigned = assign_crtcs([both, only_first], CRTCS)
    assert (assigned[1].index, assigned[2].index) == (1, 0)


def test_a_connected_monitor_is_served_before_an_empty_connector() -> None:
    empty, monitor = FakeConnector(1, 0b1, connected=False), FakeConnector(2, 0b1)
    assert set(assign_crtcs([empty, monitor], CRTCS)) == {2}


@given(st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=5))
def test_no_crtc_serves_two_connectors_and_none_that_it_cannot(
    wanted: list[tuple[int, bool]],
) -> None:
    connectors = [FakeConnector(i, mask, on) for i, (mask, on) in enumerate(wanted)]
    assigned = assign_crtcs(connectors, CRTCS)
    assert len({crtc.id for crtc in assigned.values()}) == len(assigned)
    for connector in connectors:
        if connector.id in assigned:
            assert connector.possible_crtcs >> assigned[connector.id].index & 1


def test_each_crtc_gets_a_primary_plane_of_its_own() -> None:
    planes = [FakePlane(1, 0b11), FakePlane(2, 0b01), FakePlane(3, 0b11, type="Overlay")]
    chosen = primary_planes(CRTCS[:2], planes)
    assert {crtc: plane.id for crtc, plane in chosen.items()} == {100: 2, 101: 1}
