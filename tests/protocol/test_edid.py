# SPDX-License-Identifier: GPL-2.0-or-later
"""EDIDs that we make, and those of operators."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.protocol.edid import BLOCK, check_edid, made_edid

SIZES = [
    *((1, 1), (1, 2047), (4095, 1), (4095, 2047), (320, 200), (640, 480), (800, 600)),
    *((1001, 777), (1024, 768), (1366, 768), (1920, 1080), (2560, 1440), (3840, 2047)),
]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_edid_decode_finds_no_fault(width: int, height: int) -> None:
    done = subprocess.run(
        ["edid-decode", "--check"], input=made_edid(width, height), capture_output=True, timeout=20
    )
    assert b"EDID conformity: PASS" in done.stdout, done.stdout.decode()
    assert done.returncode == 0


@given(st.integers(1, 4095), st.integers(1, 2047), st.sampled_from([30, 50, 60, 75]))
def test_the_first_timing_is_the_size_asked_for(width: int, height: int, refresh: int) -> None:
    edid = made_edid(width, height, refresh)
    check_edid(edid)
    timing = edid[54:72]
    clock = int.from_bytes(timing[:2], "little") * 10_000
    active = timing[2] | timing[4] >> 4 << 8, timing[5] | timing[7] >> 4 << 8
    blank = timing[3] | (timing[4] & 15) << 8, timing[6] | (timing[7] & 15) << 8
    assert active == (width, height)
    assert clock >= 10_000_000
    rate = clock / ((active[0] + blank[0]) * (active[1] + blank[1]))
    # What a detailed timing can't say, 655.35 MHz, is slower.
    assert rate == pytest.approx(refresh, rel=0.01) or clock == 655_350_000
    front = (timing[8], timing[10] >> 4)
    sync = (timing[9], timing[10] & 15)
    assert front[0] + sync[0] < blank[0]
    assert front[1] + sync[1] < blank[1]


@pytest.mark.parametrize(("width", "height"), [(0, 1), (1, 0), (4096, 1), (1, 4096)])
def test_a_size_that_no_timing_holds_is_refused_with_the_limit(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=f"{width}x{height}.*4095x4095"):
        made_edid(width, height)


def test_an_edid_of_a_monitor_with_extensions_is_taken() -> None:
    base = bytearray(made_edid(800, 600))
    base[126] = 1
    base[127] = (base[127] - 1) & 0xFF
    check_edid(bytes(base) + bytes(BLOCK))


@pytest.mark.parametrize(
    ("edid", "message"),
    [
        (b"", "header"),
        (bytes(128), "header"),
        (made_edid(800, 600)[:127], "blocks of 128"),
        (made_edid(800, 600) + bytes(128), "0 extension blocks follow, but has 1"),
        (made_edid(800, 600)[:100] + b"\xee" + made_edid(800, 600)[101:], "checksum of block 0"),
        (made_edid(800, 600) * 257, "at most 32768"),
    ],
)
def test_what_is_no_edid_is_told(edid: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_edid(edid)


@given(st.binary(max_size=600))
def test_any_bytes_are_taken_or_refused(data: bytes) -> None:
    try:
        check_edid(data)
    except ValueError:
        return
    assert sum(data) % 256 == 0
