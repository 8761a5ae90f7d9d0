# SPDX-License-Identifier: GPL-2.0-or-later
"""Modes as the kernel's struct."""

from __future__ import annotations

from xendisplback._ext import load_drm
from xendisplback.kms.mode import Mode

VGA = Mode(
    *(25175, 640, 656, 752, 800, 0, 480, 490, 492, 525, 0, 60),
    flags=10,
    type=Mode.TYPE_PREFERRED,
    name="640x480",
)


def test_layout_is_libdrms() -> None:
    assert load_drm().ffi.sizeof("drmModeModeInfo") == Mode.LAYOUT.size == 68


def test_survives_the_kernels_layout() -> None:
    assert Mode.unpack(VGA.pack()) == VGA


def test_text_and_preference() -> None:
    assert str(VGA) == "640x480@60"
    assert VGA.preferred
