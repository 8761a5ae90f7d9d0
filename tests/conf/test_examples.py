# SPDX-License-Identifier: GPL-2.0-or-later
"""The examples in conf/: each can be used as it is."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from xendisplback.check.guest_files import check_text, held_twice
from xendisplback.check.vdispl import Connector
from xendisplback.config import BackendAllocation, BudgetSettings, Config, load_config

CONF = Path(__file__).parents[2] / "conf"
EXAMPLES = sorted((CONF / "examples").iterdir())


def test_there_is_one_for_each_kind_of_host() -> None:
    assert [path.name for path in EXAMPLES] == [
        "cluster-and-infotainment",
        "driver-domain",
        "one-guest",
        "rcar-du-ipmmu",
        "two-guests-two-screens",
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_daemon_takes_it_and_guests_find_their_places_in_it(example: Path) -> None:
    config = load_config(example / "xendisplback.toml")
    connectors: list[tuple[Path, Connector]] = []
    for path in example.glob("*.cfg"):
        findings, named = check_text(path.read_text())
        if path.stem != "display":
            assert findings == []
            assert named
        connectors += [(path, connector) for connector in named]
    assert held_twice(connectors) == []
    outputs = config.layout.outputs
    for path, connector in connectors:
        place = connector.place
        layers = [layer.name for layer in config.layout.output(place.output).layers]
        assert place.layer is None or place.layer in layers
        assert not outputs or place.output in outputs
        if config.allow:
            assert place.output in (config.allow[path.stem].outputs or [])


def test_what_stands_in_the_reference_is_the_default(tmp_path: Path) -> None:
    """Every key of the daemon's own tables, uncommented."""
    lines = (CONF / "xendisplback.toml").read_text().splitlines()
    written = [line[1:] for line in lines if re.match(r"#(\[[a-z-]+\]|[a-z-]+ = )", line)]
    path = tmp_path / "xendisplback.toml"
    path.write_text("\n".join(written))
    assert load_config(path) == Config()
    keys = {line.partition(" = ")[0] for line in written}
    for table in (Config, BackendAllocation, BudgetSettings):
        fields = {field.encode_name for field in msgspec.structs.fields(table)}
        assert fields - {"card", "be-alloc", "budget", "allow", "output", "route"} <= keys
