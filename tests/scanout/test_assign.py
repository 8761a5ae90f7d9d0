# SPDX-License-Identifier: GPL-2.0-or-later
"""Which CRTC and plane serve which connector."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from xendisplback.kms.mode import Mode
from xendisplback.scanout.assign import assign_crtcs, assign_planes, primary_planes
from xendisplback.scanout.plane_format import XRGB8888


@dataclass
class FakeConnector:
    id: int
    possible_crtcs: int
    connected: bool = True
    name: str = "HDMI-A-1"
    modes: list[Mode] = field(default_factory=list[Mode])
    edid: bytes = b""
    crtc_id: int = 0


@dataclass
class FakeCrtc:
    id: int
    index: int


@dataclass
class FakePlane:
    id: int
    possible_crtcs: int
    type: str = "Primary"
    formats: frozenset[int] = frozenset({XRGB8888})
    shadowed: bool = False
    zpos: int | None = None
    crtc_id: int = 0


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


def test_lit_outputs_are_not_moved_and_other_owners_keep_theirs() -> None:
    both, only_first, new = FakeConnector(1, 0b11), FakeConnector(2, 0b01), FakeConnector(3, 0b111)
    lit = {1: 100, 77: 101}
    assigned = assign_crtcs([new, both, only_first], CRTCS, lit=lit, before={3: 101})
    assert {c: crtc.id for c, crtc in assigned.items()} == {1: 100, 3: 102}


def test_what_was_before_is_kept_although_another_crtc_comes_first() -> None:
    connectors = [FakeConnector(1, 0b111), FakeConnector(2, 0b111)]
    before = {1: 102, 2: 101}
    assigned = assign_crtcs(connectors, CRTCS, before=before)
    assert {c: crtc.id for c, crtc in assigned.items()} == before


def test_a_new_monitor_moves_only_one_that_must_make_room() -> None:
    stays, moves, new = FakeConnector(1, 0b0111), FakeConnector(2, 0b1111), FakeConnector(3, 0b0011)
    before = {1: 100, 2: 101}
    assigned = assign_crtcs([new, stays, moves], CRTCS, before=before)
    assert assigned[3].id in (100, 101)
    moved = [c for c, crtc in before.items() if assigned[c].id != crtc]
    assert len(moved) == 1


def every_assignment(
    connectors: Sequence[FakeConnector], lit: Mapping[int, int]
) -> Iterator[dict[int, int]]:
    for choice in itertools.product([None, *CRTCS], repeat=len(connectors)):
        pairs = [
            (connector, crtc)
            for connector, crtc in zip(connectors, choice, strict=True)
            if crtc is not None
        ]
        used = [crtc.id for _, crtc in pairs]
        if len(set(used)) == len(used) and all(
            connector.possible_crtcs >> crtc.index & 1 and crtc.id not in lit.values()
            for connector, crtc in pairs
        ):
            yield {connector.id: crtc.id for connector, crtc in pairs}


crtc_ids = st.sampled_from([crtc.id for crtc in CRTCS])
connector_ids = st.integers(0, 6)


@given(
    wanted=st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=4),
    lit=st.dictionaries(connector_ids, crtc_ids, max_size=2),
    before=st.dictionaries(connector_ids, crtc_ids, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_no_assignment_serves_more_important_ones_or_changes_less(
    wanted: list[tuple[int, bool]], lit: dict[int, int], before: dict[int, int]
) -> None:
    connectors = [FakeConnector(i, mask, on) for i, (mask, on) in enumerate(wanted)]
    assigned = {
        c: crtc.id for c, crtc in assign_crtcs(connectors, CRTCS, lit=lit, before=before).items()
    }
    for connector in connectors:
        if connector.id in lit:
            assert assigned.pop(connector.id) == lit[connector.id]
    dark = [connector for connector in connectors if connector.id not in lit]
    ranked = sorted(dark, key=lambda c: not c.connected)

    def quality(candidate: Mapping[int, int]) -> tuple[list[bool], int]:
        kept = sum(before.get(c) == crtc for c, crtc in candidate.items())
        return [c.id in candidate for c in ranked], kept

    candidates = list(every_assignment(dark, lit))
    assert assigned in candidates
    assert quality(assigned) == max(map(quality, candidates))


@given(masks=st.lists(st.integers(1, 0xFFFFFFFF), min_size=32, max_size=32), data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_largest_card_takes_no_time(masks: list[int], data: st.DataObject) -> None:
    crtcs = [FakeCrtc(100 + index, index) for index in range(32)]
    connectors = [FakeConnector(i, mask) for i, mask in enumerate(masks)]
    before = dict(enumerate(data.draw(st.permutations(range(100, 132)))))
    started = time.thread_time()
    assign_crtcs(connectors, crtcs, before=before)
    assert time.thread_time() - started < 0.5


# Planes


def test_each_crtc_gets_a_primary_plane_of_its_own() -> None:
    planes = [FakePlane(1, 0b11), FakePlane(2, 0b01), FakePlane(3, 0b11, type="Overlay")]
    chosen = primary_planes(CRTCS[:2], planes)
    assert {crtc: plane.id for crtc, plane in chosen.items()} == {100: 2, 101: 1}


@given(st.lists(st.integers(0, 15), max_size=5))
@settings(deadline=None)
def test_no_crtc_lacks_a_primary_plane_that_could_have_one(masks: list[int]) -> None:
    planes = [FakePlane(i, mask) for i, mask in enumerate(masks)]
    chosen = primary_planes(CRTCS, planes)
    assert len({plane.id for plane in chosen.values()}) == len(chosen)
    for crtc in CRTCS:
        assert crtc.id not in chosen or chosen[crtc.id].possible_crtcs >> crtc.index & 1
    most = max(
        sum(mask >> index & 1 for mask, index in zip(masks, order, strict=False))
        for order in itertools.permutations(range(max(len(masks), len(CRTCS))))
    )
    assert len(chosen) == most


STACK = [
    FakePlane(1, 0b01, zpos=0),
    FakePlane(2, 0b10, zpos=0),
    FakePlane(3, 0b11, type="Overlay", zpos=1),
    FakePlane(4, 0b01, type="Overlay", zpos=3),
    FakePlane(5, 0b01, type="Cursor", zpos=4),
    FakePlane(6, 0b01, type="Overlay", zpos=2),
]


def planes_of(index: int, planes: Sequence[FakePlane], count: int, *taken: int) -> list[int]:
    chosen = assign_planes(CRTCS[index], CRTCS[:2], planes, count, set(taken))
    return [plane.id for plane in chosen]


def test_planes_are_the_primary_one_and_overlays_from_back_to_front() -> None:
    assert planes_of(0, STACK, 1) == [1]
    assert planes_of(0, STACK, 4) == [1, 3, 6, 4]
    assert planes_of(0, STACK, 9) == [1, 3, 6, 4]
    assert planes_of(1, STACK, 4) == [2, 3]


def test_overlays_that_other_crtcs_can_use_are_left_to_them() -> None:
    assert planes_of(0, STACK, 3) == [1, 6, 4]


def test_another_crtcs_planes_are_not_taken() -> None:
    assert planes_of(1, STACK, 4, 1, 3, 6) == [2]
    assert planes_of(0, STACK, 1, 1) == []


def test_a_crtc_without_a_primary_plane_has_none() -> None:
    assert planes_of(1, STACK[:1], 3) == []


def test_overlays_behind_the_primary_plane_are_of_no_use() -> None:
    planes = [FakePlane(1, 1, zpos=2), FakePlane(2, 1, "Overlay", zpos=1)]
    assert planes_of(0, [*planes, FakePlane(3, 1, "Overlay", zpos=3)], 3) == [1, 3]


def test_overlays_are_in_front_where_the_driver_does_not_say() -> None:
    planes = [FakePlane(9, 1), FakePlane(3, 1, "Overlay"), FakePlane(2, 1, "Overlay")]
    assert planes_of(0, planes, 3) == [9, 2, 3]


def test_overlays_that_take_no_copies_are_of_no_use() -> None:
    planes = [FakePlane(1, 1), FakePlane(2, 1, "Overlay", formats=frozenset())]
    assert planes_of(0, planes, 2) == [1]


@given(
    drawn=st.lists(
        st.tuples(
            st.integers(0, 15),
            st.sampled_from(["Primary", "Overlay", "Cursor"]),
            st.none() | st.integers(0, 5),
        ),
        max_size=10,
    ),
    order=st.permutations(CRTCS),
    count=st.integers(1, 4),
)
@settings(deadline=None)
def test_outputs_that_are_lit_one_after_the_other_get_planes_of_their_own(
    drawn: list[tuple[int, str, int | None]], order: list[FakeCrtc], count: int
) -> None:
    """Whatever the order, each has the primary plane that is there for it."""
    planes = [FakePlane(i, mask, kind, zpos=zpos) for i, (mask, kind, zpos) in enumerate(drawn)]
    expected, taken = primary_planes(CRTCS, planes), set[int]()
    for crtc in order:
        chosen = assign_planes(crtc, CRTCS, planes, count, taken)
        assert [plane.id for plane in chosen[:1]] == [
            plane.id for plane in (expected.get(crtc.id),) if plane is not None
        ]
        assert len(chosen) <= count
        assert not taken.intersection(plane.id for plane in chosen)
        assert all(plane.possible_crtcs >> crtc.index & 1 for plane in chosen)
        assert all(plane.type == "Overlay" for plane in chosen[1:])
        taken.update(plane.id for plane in chosen)
