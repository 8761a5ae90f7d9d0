# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration file: what is refused, and with which words."""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from xendisplback.config import (
    CardSettings,
    Config,
    ConfigError,
    LayerSettings,
    OutputSettings,
    load_config,
)
from xendisplback.kms.geometry import Rect
from xendisplback.scanout.layout import GuestName, LayerLayout, Place

LAYERS = """
[output.A]
mode = "640x480"
fit = "scale"
[[output.A.layer]]
name = "x"
"""
EXAMPLE = Path(__file__).parents[2] / "conf" / "xendisplback.toml"


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return load_config(path)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Config()


def test_the_example_documents_every_key_with_its_default() -> None:
    keys = re.sub(r"^#(?=[a-z-]+ =|\[be-alloc\]|\[budget\])", "", EXAMPLE.read_text(), flags=re.M)
    documented: dict[str, object] = {"card": {}, "output": {}, "route": {}, **tomllib.loads(keys)}
    # TOML has no word for nothing.
    documented["allow"] = None
    assert documented == msgspec.to_builtins(Config())


def test_the_examples_card_table_is_one_that_can_be_used(tmp_path: Path) -> None:
    lines = re.findall(r"^#    (.*)$", EXAMPLE.read_text().partition("[card.")[2], flags=re.M)
    config = load(tmp_path, "\n".join(['[card."driver:rcar-du"]', *lines]))
    assert config.card == {"driver:rcar-du": CardSettings("auto", iommu=True)}


def example(table: str) -> str:
    """The indented lines that follow ``table`` in the example, with it."""
    _, _, rest = EXAMPLE.read_text().partition(f"#    {table}\n")
    block = itertools.takewhile(lambda line: re.match(r"#(    |$)", line), rest.splitlines())
    return "\n".join([table, *(line[1:] for line in block)])


def test_the_examples_layout_is_one_that_can_be_used_and_has_every_key(tmp_path: Path) -> None:
    text = example("[output.HDMI-A-1]")
    output = load(tmp_path, text).layout.output("HDMI-A-1")
    assert [layer.name for layer in output.layers] == ["main", "camera"]
    assert output.layers[1].area == Rect(1200, 60, 640, 480)
    assert output.configured_safe
    written = tomllib.loads(text)["output"]["HDMI-A-1"]
    assert set(written) == {field.encode_name for field in msgspec.structs.fields(OutputSettings)}
    keys = {field.encode_name for field in msgspec.structs.fields(LayerSettings)}
    assert set(written["layer"][1]) == keys


def test_the_examples_routes_are_ones_that_can_be_used(tmp_path: Path) -> None:
    text = example("[output.HDMI-A-1]") + "\n" + example("[route]")
    assert load(tmp_path, text).layout.routes == {
        GuestName("linux1"): (Place("HDMI-A-1"),),
        GuestName("linux2", 0, 1): (Place("HDMI-A-1", "camera"), Place("HDMI-A-2")),
        GuestName("linux3"): (),
    }


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'refesh-rate'.*'refresh-rate'"):
        load(tmp_path, "refesh-rate = 5")
    with pytest.raises(ConfigError, match=r"'zero' in \[card.\"driver:x\"\].*'zero-copy'"):
        load(tmp_path, "[card.'driver:x']\nzero = 'auto'")
    with pytest.raises(ConfigError, match=r"'totel' in \[be-alloc\].*'total'"):
        load(tmp_path, "[be-alloc]\ntotel = 5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("refresh-rate = -1", "refresh-rate"),
        ("refresh-rate = 'fast'", "refresh-rate"),
        ("cards = 'card0'", "cards"),
        ("log-level = 'loud'", "log-level"),
        ("[card.rcar-du]", "card"),
        ("[card.'driver:rcar-du']\nzero-copy = true", "zero-copy"),
        ("[be-alloc]\nper-domain = -1", "per-domain"),
        ("[be-alloc]\ntotal = 'much'", "total"),
        ("be-alloc = true", "be-alloc"),
        ("this is not toml", "not TOML"),
    ],
)
def test_a_bad_value_is_refused_with_its_key(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[output.A]\nmod = '1x1'", r"unknown key 'mod' in \[output\.A\].*'mode'"),
        ("[output.A]\n[[output.A.layer]]\nnam = 'x'", r"'nam' in \[\[output\.A\.layer\]\].*'name'"),
        ("[output.A]\n[[output.A.layer]]\nzpos = 1", r"\[output\.A\].*`name`.*layer\[0\]"),
        ("[output.A]\nrefresh = 'fast'", r"\[output\.A\].*`refresh`"),
        ("[output.A]\nrefresh = nan", r"\[output\.A\].*refresh is nan.*write 1 to 1000 Hz"),
        ("[output.A]\nmode = 'large'", r"\[output\.A\].*`mode`.*'large'"),
        ("[output.A]\nfit = 'centre'", r"\[output\.A\].*`fit`.*'centre'.*'center'"),
        ("[output.A]\nsafe = 'signal.png'", r"\[output\.A\].*`safe`.*'signal\.png'"),
        ("[output.A]\nedid = 'mine'", r"\[output\.A\].*edid is 'mine'.*write"),
        ("[output.A]\nstalled-after = -1", r"\[output\.A\].*stalled-after is -1"),
        ("[output.'a b']", r"\[output\.a b\].*no name of an output"),
        ("output = 5", "output"),
        ("[output]\nA = 5", r"\[output\.A\].*`object`, got `int`"),
        ("[route]\nlinux1 = 'HDMI-A-1'", "route"),
        ("[route]\n'linux1/x' = []", r"\[route\].*'linux1/x' is no guest"),
        ("[route]\nlinux1 = ['HDMI A']", r"\[route\].*'HDMI A' is no place"),
        ("[route]\nlinux1 = []\n'linux1/0' = []", r"\[route\].*linux1/0/0 has two routes"),
        ("[route]\na = ['X']\nb = ['X']", r"\[route\].*X/main can't show two guests"),
        ("[route]\na = ['X/camera']", r"\[route\].*X has no layer 'camera'"),
        ("control-socket = 5", "control-socket"),
        (LAYERS + "width = 5", r"layer 'x': width and height belong together"),
        (LAYERS + "x = 5", r"layer 'x': width and height belong together"),
        (LAYERS + "width = 0\nheight = 5", r"layer 'x': 0x5 holds no picture"),
        (LAYERS + "fit = 'fill'", r"\[output\.A\].*`fit`.*'fill'"),
        (
            LAYERS + "width = 641\nheight = 480",
            r"'x' of output A \(641x480 at 0,0\) does not fit .* 640x480",
        ),
    ],
)
def test_a_layout_that_can_not_be_is_refused_with_its_table(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        load(tmp_path, text)
    assert str(tmp_path) in str(caught.value)


def test_what_a_layer_leaves_out_is_the_whole_output_with_its_fit(tmp_path: Path) -> None:
    output = load(tmp_path, LAYERS + "[output.B]\nfit = 'exact'").layout.output("A")
    assert output.layers == (LayerLayout("x", 0, None, "scale"),)
    assert output.configured_layers


def test_an_output_without_layers_has_one_with_its_fit(tmp_path: Path) -> None:
    output = load(tmp_path, "[output.A]\nfit = 'exact'").layout.output("A")
    assert output.layers == (LayerLayout("main", 0, None, "exact"),)
    assert not output.configured_layers
    assert not output.configured_safe


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*missing\.toml"):
        load_config(tmp_path / "missing.toml")
