# SPDX-License-Identifier: GPL-2.0-or-later
"""XenStore values: the one form that is meant, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import xendisplback.protocol
from xendisplback.protocol.nodes import (
    NodeError,
    parse_number,
    parse_resolution,
    parse_state,
    parse_unique_id,
    parse_version,
)
from xendisplback.protocol.xenbus import XenbusState


@given(st.one_of(st.none(), st.text(max_size=20)))
def test_any_value_is_parsed_or_named(value: str | None) -> None:
    for parse in (parse_resolution, parse_number, parse_unique_id, parse_version):
        try:
            parse("/some/node", value)
        except NodeError as error:
            text = str(error)
            assert text.startswith("/some/node is ")
            assert "expected is" in text
            assert text.isascii() or "…" in text
            assert text.isprintable()


@given(st.integers(1, 16384), st.integers(1, 16384))
def test_a_resolution_is_two_numbers(width: int, height: int) -> None:
    assert parse_resolution("n", f"{width}x{height}") == (width, height)


@pytest.mark.parametrize(
    "value",
    [None, "", "0x0", "800x0", "800", "800X600", "800x600@60", " 800x600", "16385x1", "8²x6"],
)
def test_other_resolutions_are_refused(value: str | None) -> None:
    with pytest.raises(NodeError):
        parse_resolution("n", value)


@given(st.integers(1, (1 << 32) - 1))
def test_a_number_is_a_u32(value: int) -> None:
    assert parse_number("n", str(value)) == value


@pytest.mark.parametrize(
    "value", [None, "", "0", "-1", "+1", "1.0", "4294967296", "0x8", "٣", "1_0"]
)
def test_other_numbers_are_refused(value: str | None) -> None:
    with pytest.raises(NodeError):
        parse_number("n", value)


@given(st.one_of(st.none(), st.text("0123456789", max_size=2), st.text(max_size=4)))
@example("0")
@example("8")
@example("9")
@example("²")
def test_a_state_is_one_digit_from_0_to_8(value: str | None) -> None:
    expected = {str(int(state)): state for state in XenbusState} | {None: XenbusState.Unknown}
    assert parse_state(value) is expected.get(value)


@pytest.mark.parametrize(("value", "version"), [(None, 1), ("1", 1), ("2", 2)])
def test_versions(value: str | None, version: int) -> None:
    assert parse_version("n", value) == version


@pytest.mark.parametrize("value", ["", "HDMI A", "é", "x" * 65, "a\n"])
def test_an_output_s_name_is_short_and_printable(value: str) -> None:
    assert parse_unique_id("n", "HDMI-A-1") == "HDMI-A-1"
    with pytest.raises(NodeError):
        parse_unique_id("n", value)


def test_the_protocol_is_without_io() -> None:
    folder = Path(next(iter(xendisplback.protocol.__path__)))
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] not in ("trio", "cffi", "os", "socket"), file
                if name.startswith("xendisplback"):
                    assert name.startswith(("xendisplback.protocol", "xendisplback.errors")), file
