# SPDX-License-Identifier: GPL-2.0-or-later
"""A layout as TOML is a configuration that says the same."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.config import load_config
from xendisplback.kms.geometry import Rect
from xendisplback.operator.words import to_toml
from xendisplback.scanout.fit import Fit, parse_mode
from xendisplback.scanout.layout import GuestName, LayerLayout, Layout, OutputLayout, Place
from xendisplback.scanout.report import describe
from xendisplback.scanout.safe import parse_safe

fits: st.SearchStrategy[Fit] = st.sampled_from(get_args(Fit))
names = st.from_regex(r"[A-Za-z0-9._-]{1,6}", fullmatch=True).filter(
    lambda name: name not in ("none", "default")
)
texts = st.text(st.characters(codec="utf-8"), max_size=5)
areas = st.none() | st.builds(
    Rect, st.integers(0, 99), st.integers(0, 99), st.integers(1, 99), st.integers(1, 99)
)
safes = st.one_of(
    st.just("blank"), st.from_regex(r"#[0-9a-f]{6}", fullmatch=True), st.just('/a "b".png')
)


@st.composite
def outputs(draw: st.DrawFn, name: str) -> OutputLayout:
    layer_names = draw(st.lists(names, max_size=3, unique=True))
    fit = draw(fits)
    layers = [
        LayerLayout(layer, zpos, draw(areas), draw(fits)) for zpos, layer in enumerate(layer_names)
    ]
    configured_safe = draw(st.booleans())
    return OutputLayout(
        name,
        draw(st.none() | st.sampled_from(["640x480", "1920x1080@60"]).map(parse_mode)),
        draw(st.floats(0.5, 1000)),
        fit,
        parse_safe(draw(safes) if configured_safe else "blank"),
        configured_safe,
        draw(st.floats(0, 1e300)),
        draw(st.sampled_from(["monitor", "made"]) | texts.map(lambda text: f"/{text}")),
        tuple(layers),
        bool(layers),
    )


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    drawn = {name: draw(outputs(name)) for name in draw(st.lists(names, max_size=3, unique=True))}
    free = [Place(output.name, layer.name) for output in drawn.values() for layer in output.layers]
    domain = texts.filter(lambda text: text != "" and text.isprintable() and "/" not in text)
    guests = st.builds(GuestName, domain, st.integers(0, 9), st.integers(0, 9))
    routes: dict[GuestName, tuple[Place, ...]] = {}
    for guest in draw(st.lists(guests, max_size=3, unique=True)):
        shown = draw(st.booleans()) and len(free) > 0
        routes[guest] = (free.pop(),) if shown else ()
    return Layout(drawn, routes)


@given(layouts())
def test_the_toml_of_a_layout_is_that_layout(
    tmp_path_factory: pytest.TempPathFactory, layout: Layout
) -> None:
    path = tmp_path_factory.getbasetemp() / "layout.toml"
    path.write_text(to_toml(describe(layout, {}, [], lambda _: ())), encoding="utf-8")
    assert load_config(path).layout == layout


STATE: dict[str, object] = {
    "output": {
        "HDMI-A-1": {
            "connected": True,
            "card": "/dev/dri/card0",
            "showing": "1920x1080@60",
            "mode": None,
            "refresh": 60.0,
            "fit": "center",
            "safe": None,
            "stalled-after": 0.0,
            "edid": "monitor",
            "layers-configured": False,
            "layer": [
                {
                    "name": "main",
                    "zpos": 0,
                    "fit": "center",
                    "guest": "linux1/0/0",
                    "x": None,
                    "y": None,
                    "width": None,
                    "height": None,
                    "state": "shown",
                    "how": "zero copy",
                }
            ],
        },
        "DP-1": {
            "connected": False,
            "dark": "no card has it",
            "card": None,
            "showing": None,
            "mode": "640x480",
            "refresh": 59.94,
            "fit": "scale",
            "safe": "blank",
            "stalled-after": 2.5,
            "edid": "made",
            "layers-configured": True,
            "layer": [
                {
                    "name": "left",
                    "zpos": 3,
                    "fit": "exact",
                    "guest": None,
                    "x": 0,
                    "y": 1,
                    "width": 2,
                    "height": 3,
                    "state": "no guest",
                    "how": None,
                }
            ],
        },
    },
    "route": {"linux1/0/0": ["HDMI-A-1"], "linux2/0/0": []},
    "guest": {
        "linux1/0/0": {"places": ["HDMI-A-1/main"], "state": "on\nx = 5", "how": "copied"},
        "linux2/0/0": {"places": [], "state": "off"},
    },
}

PRINTED = """\
[output.HDMI-A-1]
# connected, /dev/dri/card0, 1920x1080@60
refresh = 60
fit = "center"
stalled-after = 0
edid = "monitor"
# linux1/0/0, shown, zero copy

[output.DP-1]
# not connected, dark: no card has it
mode = "640x480"
refresh = 59.94
fit = "scale"
safe = "blank"
stalled-after = 2.5
edid = "made"
[[output.DP-1.layer]]
# no guest
name = "left"
zpos = 3
x = 0
y = 1
width = 2
height = 3
fit = "exact"

[route]
"linux1/0/0" = ["HDMI-A-1"]
"linux2/0/0" = []

# guest linux1/0/0 at HDMI-A-1/main, on?x = 5, copied
# guest linux2/0/0 at none, off
"""


def test_the_state_is_in_comments() -> None:
    assert to_toml(STATE) == PRINTED


def test_what_is_printed_with_state_is_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(PRINTED)
    assert load_config(path).layout.output("DP-1").layers[0].area == Rect(0, 1, 2, 3)
    assert "x" not in tomllib.loads(PRINTED)


def test_nothing_configured_is_nothing_to_say() -> None:
    assert to_toml(describe(Layout(), {}, [], lambda _: ())) == "\n"
