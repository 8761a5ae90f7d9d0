# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration file: what is refused, and with which words."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from xendisplback.config import CardSettings, Config, ConfigError, load_config

EXAMPLE = Path(__file__).parents[2] / "conf" / "xendisplback.toml"


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return load_config(path)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(tmp_path, "") == Config()


def test_the_example_documents_every_key_with_its_default() -> None:
    keys = re.sub(r"^#(?=[a-z-]+ =|\[be-alloc\])", "", EXAMPLE.read_text(), flags=re.M)
    documented: dict[str, object] = {"card": {}, **tomllib.loads(keys)}
    assert documented == msgspec.to_builtins(Config())


def test_the_examples_card_table_is_one_that_can_be_used(tmp_path: Path) -> None:
    lines = re.findall(r"^#    (.*)$", EXAMPLE.read_text().partition("[card.")[2], flags=re.M)
    config = load(tmp_path, "\n".join(['[card."driver:rcar-du"]', *lines]))
    assert config.card == {"driver:rcar-du": CardSettings("auto", iommu=True)}


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


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*missing\.toml"):
        load_config(tmp_path / "missing.toml")
