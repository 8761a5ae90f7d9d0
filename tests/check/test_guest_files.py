# SPDX-License-Identifier: GPL-2.0-or-later
"""xendisplback check GUEST.cfg: what xl swallows is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.check.finding import Level
from xendisplback.check.guest_files import check_text, not_there
from xendisplback.cli import main


def ids(vdispl: str) -> dict[str, Level]:
    findings, _ = check_text(f'name = "linux1"\nvdispl = [ "{vdispl}" ]\n')
    assert all(finding.line == 2 for finding in findings)
    return {finding.id: finding.level for finding in findings}


@pytest.mark.parametrize(
    "vdispl",
    [
        "backend=0,be-alloc=0,connectors=HDMI-A-1:1920x1080",
        "connectors=HDMI-A-1:1920x1080;HDMI-A-2/camera:640x480",
        "backend=driverdomain, be-alloc=1, connectors=Virtual-1:4095x2047",
    ],
)
def test_nothing_is_found_where_nothing_is_wrong(vdispl: str) -> None:
    assert ids(vdispl) == {}


@pytest.mark.parametrize(
    ("vdispl", "identifier", "level"),
    [
        ("be-alloc=true,connectors=A:1x1", "vdispl-be-alloc", Level.FAILURE),
        ("be-alloc=2,connectors=A:1x1", "vdispl-be-alloc", Level.FAILURE),
        ("connectors=A:800x600@60", "vdispl-ignored", Level.WARNING),
        ("connectors=A:0x0", "vdispl-resolution", Level.FAILURE),
        ("connectors=A:0x600", "vdispl-resolution", Level.FAILURE),
        ("connectors=A:axb", "vdispl-resolution", Level.FAILURE),
        ("connectors=A:800*600", "vdispl-resolution", Level.FAILURE),
        ("connectors=A", "vdispl-no-resolution", Level.FAILURE),
        ("connectors=A:4096x100", "vdispl-too-large", Level.FAILURE),
        ("connectors=A:100x2048", "vdispl-too-large", Level.FAILURE),
        ("connectors=A B:1x1", "vdispl-output-name", Level.FAILURE),
        ("connectors=A/:1x1", "vdispl-output-name", Level.FAILURE),
        ("backend=0", "vdispl-no-connector", Level.FAILURE),
        ("be_alloc=0,connectors=A:1x1", "vdispl-unknown-key", Level.FAILURE),
        ("backend = 0,connectors=A:1x1", "vdispl-unknown-key", Level.FAILURE),
        ("connectors=" + ";".join(f"A{n}:1x1" for n in range(5)), "vdispl-too-many-connectors", Level.FAILURE),
    ],
)  # fmt: skip
def test_what_xl_swallows_is_found(vdispl: str, identifier: str, level: Level) -> None:
    assert ids(vdispl) == {identifier: level}


@pytest.mark.parametrize(
    ("value", "read"),
    [("true", 0), ("yes", 0), ("", 0), ("2", 1), ("0x0", 0), ("010", 1), ("-1", 1)],
)
def test_it_says_what_xl_reads(value: str, read: int) -> None:
    findings, _ = check_text(f"vdispl = ['be-alloc={value},connectors=A:1x1']")
    assert f"xl reads be-alloc={value} as {read}" in findings[0].text


def test_a_domain_without_a_display_and_one_that_is_no_list() -> None:
    assert check_text("name = 'a'")[0][0].id == "no-vdispl"
    (finding,) = check_text("\nvdispl = 'connectors=A:1x1'")[0]
    assert (finding.id, finding.line) == ("vdispl-no-list", 2)


@given(st.text())
def test_any_text_is_checked(text: str) -> None:
    check_text(text)
    check_text(f"vdispl = ['{text}']")
    check_text(f"vdispl = ['connectors={text}']")


def written(path: Path, *items: str) -> Path:
    path.write_text("vdispl = [ " + ", ".join(f"'{item}'" for item in items) + " ]\n")
    return path


def test_two_guests_on_one_output_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = written(tmp_path / "one.cfg", "connectors=HDMI-A-1:800x600")
    two = written(tmp_path / "two.cfg", "connectors=HDMI-A-1:800x600;HDMI-A-2/left:800x600")
    assert main(["check", "--socket", str(tmp_path / "none"), str(one), str(two)]) == 0
    out = capsys.readouterr().out
    assert f"{two}:1: warning: HDMI-A-1 is that of {one}:1 too" in out
    assert "HDMI-A-2" not in out
    assert "no daemon answers" in out


def test_exit_codes_and_what_programs_get(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    socket = ["--socket", str(tmp_path / "none")]
    good = str(written(tmp_path / "good.cfg", "connectors=A:1x1"))
    bad = str(written(tmp_path / "bad.cfg", "connectors=A:0x0"))
    assert main(["check", good, *socket]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["check", good, bad, "--json", *socket]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["daemon"]) == (1, False)
    assert [(f["file"], f["line"], f["level"], f["id"]) for f in found["findings"]] == [
        (bad, 1, "failure", "vdispl-resolution"),
        (bad, 1, "warning", "place-named-twice"),
    ]
    assert main(["check", str(tmp_path / "missing.cfg"), *socket]) == 2
    assert "missing.cfg: No such file" in capsys.readouterr().err


def test_outputs_that_the_daemon_does_not_know_are_told() -> None:
    outputs = {"HDMI-A-1": {"layer": [{"name": "main"}]}}
    _, connectors = check_text(
        "vdispl = ['connectors=HDMI-A-1:1x1;HDMI-A-1/main:1x1;HDMI-A-1/left:1x1;DP-1:1x1']"
    )
    found = not_there([(Path("a.cfg"), connector) for connector in connectors], outputs)
    assert [finding.text.split(";")[0] for _, finding in found] == [
        "the daemon knows no HDMI-A-1/left",
        "the daemon knows no DP-1",
    ]


def test_a_file_can_not_play_with_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.cfg", r"connectors=\x1b[2J:1x1")
    assert main(["check", "--socket", str(tmp_path / "none"), str(path)]) == 1
    assert "\x1b" not in capsys.readouterr().out
