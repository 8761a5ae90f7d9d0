# SPDX-License-Identifier: GPL-2.0-or-later
"""What read(2) delivers from a DRM device, as C parses it."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flip.kit import CRTC, Connector


def waiting(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.flip(7)
    connector.committing(1)


def test_other_events_and_other_crtcs_are_skipped(connector: Connector) -> None:
    waiting(connector)
    unknown = struct.pack("=II8x", 0x80000001, 16)
    vblank = struct.pack("=IIQIIII", 1, 32, 0, 1, 1, 1, CRTC)
    elsewhere = struct.pack("=IIQIIII", 2, 32, 0, 1, 1, 1, CRTC + 1)
    connector.send_raw(unknown + vblank + elsewhere)
    connector.nothing_handed()
    assert connector.flip_events() == []
    connector.send_raw(unknown + struct.pack("=IIQIIII", 2, 32, 0, 1, 1, 1, CRTC))
    connector.shown(1)


async def test_a_card_that_is_gone_says_so(connector: Connector) -> None:
    connector.hang_up()
    with trio.fail_after(5):
        error = await connector.card.failed()
    assert "the device is gone" in str(error)


@given(st.binary(min_size=1, max_size=200))
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_survived(connector: Connector, data: bytes) -> None:
    connector.send_raw(data)
    assert len(connector.flip_events()) == 0


def test_the_struct_is_the_kernel_s(tmp_path: Path) -> None:
    source = Path(__file__).parents[2] / "cffi_build/flip_card.c"
    program = tmp_path / "layout.c"
    checks = "".join(
        f"_Static_assert(__builtin_offsetof(struct flip_event, {ours}) == "
        f'__builtin_offsetof(struct drm_event_vblank, {theirs}), "{ours}");\n'
        for ours, theirs in (
            ("event", "base"),
            ("user_data", "user_data"),
            ("seconds", "tv_sec"),
            ("microseconds", "tv_usec"),
            ("sequence", "sequence"),
            ("crtc_id", "crtc_id"),
        )
    )
    program.write_text(
        f'#include "{source}"\n#include <xf86drm.h>\n#include <drm.h>\n{checks}'
        '_Static_assert(sizeof(struct flip_event) == sizeof(struct drm_event_vblank), "size");\n'
        '_Static_assert(FLIP_COMPLETE == DRM_EVENT_FLIP_COMPLETE, "type");\n'
    )
    flags = subprocess.run(
        ["pkg-config", "--cflags", "libdrm"], check=True, capture_output=True, text=True
    ).stdout.split()
    command = ["gcc", "-fsyntax-only", f"-I{source.parent}", *flags, str(program)]
    subprocess.run(command, check=True, timeout=60)
