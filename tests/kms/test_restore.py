# SPDX-License-Identifier: GPL-2.0-or-later
"""What is put back when a card is closed."""

from __future__ import annotations

from xendisplback.kms.restore import OFF, SAVED, Changes, Kind, SavedObject, affected, plan

CONNECTOR, CRTC, PLANE, OTHER_CRTC, OTHER_PLANE, OTHER_CONNECTOR = 10, 20, 30, 21, 31, 11


def saved(kind: Kind, **values: int) -> SavedObject:
    return SavedObject(kind, {name: values.get(name, 0) for name in SAVED[kind]})


LIT = {
    CONNECTOR: saved("connector", CRTC_ID=CRTC),
    CRTC: saved("crtc", MODE_ID=77, ACTIVE=1),
    PLANE: saved("plane", FB_ID=5, CRTC_ID=CRTC, CRTC_W=640, CRTC_H=480),
    OTHER_CONNECTOR: saved("connector", CRTC_ID=OTHER_CRTC),
    OTHER_CRTC: saved("crtc", MODE_ID=78, ACTIVE=1),
    OTHER_PLANE: saved("plane", FB_ID=6, CRTC_ID=OTHER_CRTC),
}
USED = {CONNECTOR, CRTC, PLANE}
OFF_CHANGES: Changes = {
    CONNECTOR: dict(OFF["connector"]),
    CRTC: dict(OFF["crtc"]),
    PLANE: dict(OFF["plane"]),
}


def test_puts_back_what_was_lit_with_our_own_mode_blob() -> None:
    changes = plan(LIT, USED, framebuffers={5, 6}, modes={CRTC: 99, OTHER_CRTC: 98})
    assert changes == {
        CONNECTOR: {"CRTC_ID": CRTC},
        CRTC: {"MODE_ID": 99, "ACTIVE": 1},
        PLANE: dict(LIT[PLANE].values),
    }


def test_blanks_when_the_framebuffer_is_gone() -> None:
    assert plan(LIT, USED, framebuffers={6}, modes={CRTC: 99, OTHER_CRTC: 98}) == OFF_CHANGES


def test_blanks_when_the_mode_is_gone() -> None:
    assert plan(LIT, USED, framebuffers={5, 6}, modes={}) == OFF_CHANGES


def test_what_was_dark_stays_dark() -> None:
    dark = {
        CONNECTOR: saved("connector"),
        CRTC: saved("crtc"),
        PLANE: saved("plane"),
    }
    assert plan(dark, USED, framebuffers=set(), modes={}) == OFF_CHANGES


def test_a_plane_that_lost_its_framebuffer_does_not_keep_the_others_from_coming_back() -> None:
    overlay = 32
    screen = {**LIT, overlay: saved("plane", FB_ID=7, CRTC_ID=CRTC)}
    changes = plan(screen, USED, framebuffers={5}, modes={CRTC: 99})
    assert changes[overlay] == OFF["plane"]
    assert changes[CRTC] == {"MODE_ID": 99, "ACTIVE": 1}


def test_what_was_on_a_used_crtc_is_affected_and_the_crtc_of_a_used_connector() -> None:
    assert affected(LIT, {CRTC}) == USED
    assert affected(LIT, {OTHER_CONNECTOR}) == {OTHER_CONNECTOR, OTHER_CRTC, OTHER_PLANE}
    assert affected(LIT, set()) == set()


def test_a_connector_that_came_later_is_let_go() -> None:
    assert plan(LIT, {12}, framebuffers={5, 6}, modes={CRTC: 99}) == {12: OFF["connector"]}
