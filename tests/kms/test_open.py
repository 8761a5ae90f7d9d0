# SPDX-License-Identifier: GPL-2.0-or-later
"""Selectors, and what is said where no card can be opened. on_device.py has what needs a device."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from xendisplback.errors import HostError
from xendisplback.kms import select
from xendisplback.kms.card import Card
from xendisplback.kms.select import open_cards, resolve


def test_no_such_device_is_an_error_beside_the_cards() -> None:
    cards, errors = open_cards(["/dev/dri/card4711", "/nonexistent"])
    assert cards == []
    assert [error.errno for error in errors] == [errno.ENOENT, errno.ENOENT]
    assert "no display device /dev/dri/card4711" in str(errors[0])
    assert "ls /dev/dri" in str(errors[0])


def test_a_file_that_is_no_drm_device() -> None:
    with pytest.raises(HostError, match=r"not a DRM device .*/dev/null"):
        Card("/dev/null")


def test_no_permission_names_the_group_and_the_unit_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: str, flags: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    # Root may open everything, so a refusing kernel is put in its place.
    monkeypatch.setattr("xendisplback.kms.device.os.open", refuse)
    with pytest.raises(HostError) as caught:
        Card("/dev/dri/card0")
    assert "no permission on /dev/dri/card0" in str(caught.value)
    assert "group video" in str(caught.value)
    assert "DeviceAllow=char-drm" in str(caught.value)


def test_no_card_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(select, "DEVICES", tmp_path)
    cards, errors = open_cards([])
    assert cards == []
    assert "no KMS device" in str(errors[0])
    with pytest.raises(HostError, match=r"no card with driver 'rcar-du'.*there is no card at all"):
        resolve("driver:rcar-du")


def test_cards_are_found_in_numerical_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("card10", "card2", "renderD128"):
        (tmp_path / name).touch()
    monkeypatch.setattr(select, "DEVICES", tmp_path)
    assert [Path(path).name for path in select.card_paths()] == ["card2", "card10"]


def test_a_connector_names_its_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("card0", "card0-HDMI-A-1", "card1-DP-1", "renderD128", "version"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(select, "SYSFS", tmp_path)
    assert resolve("connector:DP-1") == ["/dev/dri/card1"]
    with pytest.raises(HostError, match="connectors here: HDMI-A-1 on card0, DP-1 on card1"):
        resolve("connector:DP-2")


@pytest.mark.parametrize("selector", ["", "card0", "driver:", "connector:", "bus:0"])
def test_a_selector_of_another_shape(selector: str) -> None:
    with pytest.raises(HostError, match=r"not understood; write a path \(/dev/dri/card0\)"):
        resolve(selector)
