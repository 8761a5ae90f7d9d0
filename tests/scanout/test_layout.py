# SPDX-License-Identifier: GPL-2.0-or-later
"""Layouts as values: names, what can't be, where a guest is shown, and other routes in one step."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.kms.geometry import Rect
from xendisplback.scanout.fit import ModeWish
from xendisplback.scanout.layout import (
    GuestName,
    LayerLayout,
    Layout,
    LayoutError,
    OutputLayout,
    Place,
    pack_routes,
    unpack_routes,
)

LINUX1, LINUX2, LINUX3 = GuestName("linux1"), GuestName("linux2"), GuestName("linux3")
A, B, CAMERA = Place("A"), Place("B"), Place("A", "camera")
TWO_LAYERS = OutputLayout(
    "A", layers=(LayerLayout("camera", 1), LayerLayout("back", 0)), configured_layers=True
)
OUTPUTS = {"A": TWO_LAYERS}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("linux1", GuestName("linux1", 0, 0)),
        ("linux1/2", GuestName("linux1", 2, 0)),
        ("linux1/0/1", GuestName("linux1", 0, 1)),
        ("a=b, c/0/1", GuestName("a=b, c", 0, 1)),
    ],
)
def test_what_a_guests_name_leaves_out_is_0(text: str, name: GuestName) -> None:
    assert GuestName.parse(text) == name
    assert GuestName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["", "/0", "a/", "a/-1", "a/x", "a/0/0/0", "a\n", "a/²", "a/0/ 1"])
def test_what_is_no_guest_is_told_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"write DOMAIN, DOMAIN/DEVICE or"):
        GuestName.parse(text)


@given(st.text())
def test_a_guests_name_is_refused_or_prints_as_what_it_means(text: str) -> None:
    try:
        name = GuestName.parse(text)
    except ValueError:
        return
    assert GuestName.parse(str(name)) == name


@pytest.mark.parametrize("text", ["HDMI-A-1", "HDMI-A-1/camera", "DP-1.2/0_x"])
def test_a_place_prints_as_it_was_written(text: str) -> None:
    assert str(Place.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "/", "A/", "/camera", "A/b/c", "A B", "A,B", "none", "default", "A/none", "é"]
)
def test_what_is_no_place_is_told_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"write OUTPUT or OUTPUT/LAYER"):
        Place.parse(text)


def test_layers_are_in_the_order_of_their_zpos() -> None:
    assert [layer.name for layer in TWO_LAYERS.layers] == ["back", "camera"]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ((LayerLayout("a", 0), LayerLayout("a", 1)), "two layers are named 'a'"),
        ((LayerLayout("a", 1), LayerLayout("b", 1)), "'a' and 'b' both have zpos 1"),
        ((), "without a layer"),
    ],
)
def test_layers_that_can_not_be_told_apart_are_refused(
    layers: tuple[LayerLayout, ...], expected: str
) -> None:
    with pytest.raises(LayoutError, match=expected):
        OutputLayout("A", layers=layers, configured_layers=True)


@pytest.mark.parametrize("name", ["", "none", "a/b", "a b"])
def test_a_layer_or_an_output_that_no_place_could_name_is_refused(name: str) -> None:
    with pytest.raises(LayoutError, match="no name"):
        LayerLayout(name)
    with pytest.raises(LayoutError, match="no name"):
        OutputLayout(name)


@pytest.mark.parametrize(
    "area",
    [
        Rect(-1, 0, 5, 5),
        Rect(0, -1, 5, 5),
        Rect(0, 0, 0, 5),
        Rect(0, 0, 5, 0),
        Rect(65535, 0, 1, 1),
    ],
)
def test_a_layer_that_is_on_no_screen_is_refused(area: Rect) -> None:
    with pytest.raises(LayoutError, match="layer 'x'"):
        LayerLayout("x", 0, area)


def test_a_layer_may_fill_the_mode_and_not_leave_it() -> None:
    def output(area: Rect) -> OutputLayout:
        mode = ModeWish(640, 480)
        return OutputLayout("A", mode, layers=(LayerLayout("x", 0, area),), configured_layers=True)

    full = output(Rect(0, 0, 640, 480))
    with pytest.raises(LayoutError, match=r"640x480 at 1,0\) does not fit into the mode, 640x480"):
        output(Rect(1, 0, 640, 480))
    full.check_size(640, 480)
    with pytest.raises(LayoutError, match="mode, 640x479"):
        full.check_size(640, 479)


def test_an_output_that_is_not_configured_has_the_defaults() -> None:
    output = Layout().output("VGA-1")
    assert output == OutputLayout("VGA-1")
    assert output.layers == (LayerLayout("main", 0, None, "center"),)
    assert not output.configured_safe


def test_a_guest_without_a_route_is_where_its_unique_id_says() -> None:
    layout = Layout(OUTPUTS, {LINUX2: (B,), LINUX3: ()})
    assert layout.places(LINUX1, "A") == (Place("A", "back"),)
    assert layout.places(LINUX1, "A/camera") == (CAMERA,)
    assert layout.places(LINUX1, "C") == (Place("C", "main"),)
    assert layout.places(LINUX2, "A") == (Place("B", "main"),)
    assert layout.places(LINUX3, "A") == ()


@pytest.mark.parametrize(
    ("unique_id", "expected"),
    [
        ("my screen", "guest linux1/0/0: its unique-id 'my screen' is no place"),
        ("A/x", "layer 'x'"),
    ],
)
def test_a_unique_id_that_names_no_place_is_refused(unique_id: str, expected: str) -> None:
    with pytest.raises(LayoutError, match=expected):
        Layout(OUTPUTS).places(LINUX1, unique_id)


def test_routes_change_in_one_step_and_leave_the_old_layout_alone() -> None:
    before = Layout(OUTPUTS, {LINUX1: (A,), LINUX2: (B,), LINUX3: ()})
    after = before.routed({LINUX1: (B,), LINUX2: (CAMERA,), LINUX3: None})
    assert after.routes == {LINUX1: (B,), LINUX2: (CAMERA,)}
    assert after.outputs == before.outputs
    assert before.routes == {LINUX1: (A,), LINUX2: (B,), LINUX3: ()}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({LINUX1: (B,)}, "place B/main can't show two guests, linux2/0/0 and linux1/0/0"),
        ({LINUX1: (A,), LINUX3: (Place("A", "back"),)}, "place A/back can't show two guests"),
        ({LINUX1: (A, CAMERA)}, "twice on one output, at A/back and at A/camera"),
        ({LINUX1: (A, A)}, "twice on one output"),
        ({LINUX1: (Place("A", "x"),)}, "A has no layer 'x'; it has 'back', 'camera'"),
        ({LINUX1: (Place("C", "x"),)}, "C has no layer 'x'; it has 'main'"),
        ({LINUX3: (Place("D"),)}, "place D/main can't show two guests, linux4/0/0 and linux3/0/0"),
        ({LINUX2: None}, "place D/main can't show two guests"),
        ({GuestName("linux5"): None}, "'no place' is no place"),
    ],
)
def test_routes_that_can_not_be_are_refused(
    changes: dict[GuestName, tuple[Place, ...] | None], expected: str
) -> None:
    unique_ids = {LINUX2: "D", GuestName("linux4"): "D", GuestName("linux5"): "no place"}
    with pytest.raises(LayoutError, match=re.escape(expected)):
        Layout(OUTPUTS, {LINUX2: (B,)}).routed(changes, unique_ids)


def test_a_guest_may_take_the_place_that_another_leaves_in_the_same_step() -> None:
    unique_ids = {LINUX1: "B", LINUX2: "C"}
    layout = Layout().routed({LINUX1: (Place("C"),), LINUX2: (B,)}, unique_ids)
    assert layout.places(LINUX1, "B") == (Place("C", "main"),)
    assert layout.routed({LINUX1: None, LINUX2: None}, unique_ids) == Layout()


def test_two_guests_that_want_one_place_by_themselves_do_not_hinder_other_routes() -> None:
    unique_ids = {LINUX1: "B", LINUX2: "B"}
    assert Layout().routed({LINUX3: (A,)}, unique_ids).routes == {LINUX3: (A,)}


def test_a_configuration_with_two_guests_at_one_place_is_refused() -> None:
    with pytest.raises(LayoutError, match="place A/back can't show two guests"):
        Layout(OUTPUTS, {LINUX1: (A,), LINUX2: (Place("A", "back"),)})


NAMES = st.text(st.characters(exclude_characters="/", categories=["L", "N"]), min_size=1)
PLACES = st.builds(Place, st.from_regex(r"[A-Z]{1,4}-[0-9]", fullmatch=True))
GUESTS = st.builds(GuestName, NAMES, st.integers(0, 9), st.integers(0, 3))


@given(st.dictionaries(GUESTS, st.none() | st.lists(PLACES).map(tuple)))
def test_the_next_process_reads_the_routes_that_were_packed(
    routes: dict[GuestName, tuple[Place, ...] | None],
) -> None:
    assert unpack_routes(pack_routes(routes)) == routes


@pytest.mark.parametrize("packed", [b"{", b"[1]", b'{"a/b/c/d": null}', b'{"a": ["/"]}'])
def test_what_are_no_packed_routes_is_refused(packed: bytes) -> None:
    with pytest.raises(LayoutError):
        unpack_routes(packed)
