# SPDX-License-Identifier: GPL-2.0-or-later
"""What a simulated monitor tells: its modes and its EDID."""

from __future__ import annotations

from xendisplback.kms.mode import Mode

REFRESH = 60


def make_mode(size: str, *, preferred: bool = False) -> Mode:
    """A 60 Hz mode of ``size`` ("800x600") with a blanking that any driver would take."""
    width, height = (int(number) for number in size.split("x"))
    htotal, vtotal = width + 160, height + 28
    return Mode(
        clock=htotal * vtotal * REFRESH // 1000,
        hdisplay=width,
        hsync_start=width + 48,
        hsync_end=width + 80,
        htotal=htotal,
        hskew=0,
        vdisplay=height,
        vsync_start=height + 3,
        vsync_end=height + 9,
        vtotal=vtotal,
        vscan=0,
        vrefresh=REFRESH,
        flags=0,
        type=Mode.TYPE_PREFERRED if preferred else 0,
        name=size,
    )


def make_edid() -> bytes:
    """128 bytes with the fixed header, manufacturer "SIM", version 1.4 and a right checksum."""
    s, i, m = (ord(letter) - 64 for letter in "SIM")
    manufacturer = s << 10 | i << 5 | m
    block = bytearray(b"\0\xff\xff\xff\xff\xff\xff\0" + manufacturer.to_bytes(2, "big"))
    block += bytes(8) + b"\x01\x04"
    block = block.ljust(127, b"\0")
    block.append(-sum(block) & 0xFF)
    return bytes(block)
