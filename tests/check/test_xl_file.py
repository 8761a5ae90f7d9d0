# SPDX-License-Identifier: GPL-2.0-or-later
"""The syntax of xl's domain files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.check.xl_file import Setting, Text, XlSyntaxError, parse_xl


def test_strings_numbers_and_lists_with_their_lines() -> None:
    settings = parse_xl(
        "# a guest\n"
        'name = "linux1"; memory=512\n'
        "vdispl = [ 'one', # the first\n"
        '           "two",\n'
        "         ]\n"
        "on_crash = 'destroy'"
    )
    assert settings == {
        "name": Setting(Text("linux1", 2), 2),
        "memory": Setting(Text("512", 2), 2),
        "vdispl": Setting([Text("one", 3), Text("two", 4)], 3),
        "on_crash": Setting(Text("destroy", 6), 6),
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r'"a\"b"', 'a"b'),
        (r"'it\'s'", "it's"),
        (r'"\t\n\\"', "\t\n\\"),
        (r'"\x41\101\q"', "AAq"),
        ("''", ""),
        ("0x1f", "0x1f"),
    ],
)
def test_what_a_value_says(written: str, value: str) -> None:
    assert parse_xl(f"name = {written}") == {"name": Setting(Text(value, 1), 1)}


def test_the_last_of_two_counts_and_more_is_appended() -> None:
    settings = parse_xl("a = '1'\na = '2'\nb = ['x']\nb += ['y']\nc += 'z'\n")
    assert settings["a"].value == Text("2", 2)
    assert settings["b"].value == [Text("x", 3), Text("y", 4)]
    assert settings["c"].value == Text("z", 5)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("name = 'a\n'", 1, "no part of xl's syntax"),
        ("\nname 'a'", 2, "= is expected after name"),
        ("vdispl = [ 'a'\n 'b' ]", 2, "a comma or ]"),
        ("vdispl = [ 'a',\n", 1, "] is missing"),
        ("vdispl = [ 'a'", 1, "a comma or ]"),
        ("a = 'b' c = 'd'", 1, "the line's end is expected, not 'c'"),
        ("a = b", 1, "a value is expected, not 'b'"),
        ("import os", 1, "= is expected after import"),
        ("Name = 'a'", 1, "no part of xl's syntax"),
        ("a = 'x'\na += ['y']", 2, "joins a string and a list"),
    ],
)
def test_what_xl_would_not_read(text: str, line: int, message: str) -> None:
    with pytest.raises(XlSyntaxError) as caught:
        parse_xl(text)
    assert message in str(caught.value)
    assert caught.value.line == line


@given(st.text(alphabet=st.sampled_from("ab=1[],;'\"\\#+\n \tx0\x00é"), max_size=60))
def test_any_text_is_read_or_refused_with_a_line_of_it(text: str) -> None:
    try:
        settings = parse_xl(text)
    except XlSyntaxError as error:
        assert 1 <= error.line <= text.count("\n") + 1
    else:
        assert all(1 <= setting.line <= text.count("\n") + 1 for setting in settings.values())


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]), max_size=20), max_size=5))
def test_every_string_can_be_written(items: list[str]) -> None:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'

    (setting,) = parse_xl(f"a = [{','.join(map(quoted, items))}]").values()
    assert not isinstance(setting.value, Text)
    assert [item.value for item in setting.value] == items
