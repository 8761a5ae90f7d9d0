# SPDX-License-Identifier: GPL-2.0-or-later
"""Every field against the C structs of libxen-dev, as a C compiler lays them out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from xendisplback.protocol import displif, ring
from xendisplback.protocol.status import Status

PROGRAM = Path(__file__).with_name("layout.c")

FB, DBUF = 0x3333333344444444, 0x1111111122222222

SLOTS = [
    displif.encode_request(displif.DbufCreate(0x1234, DBUF, 3, 4, 5, 6, displif.REQ_ALLOC, 8, 9)),
    displif.encode_request(displif.DbufDestroy(0x1234, DBUF)),
    displif.encode_request(displif.FbAttach(0x1234, DBUF, FB, 3, 4, 0x34325258)),
    displif.encode_request(displif.FbDetach(0x1234, FB)),
    displif.encode_request(displif.SetConfig(0x1234, FB, 1, 2, 3, 4, 5)),
    displif.encode_request(displif.PgFlip(0x1234, FB)),
    displif.encode_request(displif.GetEdid(0x1234, 40000, 7)),
    displif.encode_response(0x1234, displif.Operation.GET_EDID, -22, 77),
    displif.encode_pg_flip_event(0x1234, FB),
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the C program prints: a line for each slot, then the numbers of the pages."""
    folder: Path = tmp_path_factory.mktemp("layout")
    command = ["gcc", "-Wall", "-o", "layout", str(PROGRAM)]
    subprocess.run(command, cwd=folder, check=True, timeout=60)
    done = subprocess.run(
        [folder / "layout"], check=True, capture_output=True, text=True, timeout=10
    )
    return done.stdout.splitlines()


def test_every_slot_is_byte_for_byte_the_c_structs(compiled: list[str]) -> None:
    assert [slot.hex() for slot in SLOTS] == compiled[:-1]


def test_the_pages_indices_are_where_the_c_structs_have_them(compiled: list[str]) -> None:
    assert [int(number) for number in compiled[-1].split()] == [
        ring.REQ_PROD,
        ring.REQ_EVENT,
        ring.RSP_PROD,
        ring.RSP_EVENT,
        ring.SLOTS_AT,
        ring.RING_SLOTS,
        ring.IN_CONS,
        ring.IN_PROD,
        ring.SLOTS_AT,
        ring.EVENT_SLOTS,
        0,
        4,
    ]


def test_status_numbers_are_xen_s() -> None:
    # With this macro the header is nothing but its list.
    done = subprocess.run(
        ["gcc", "-E", "-P", "-x", "c", "-"],
        input="#define XEN_ERRNO(name, value) name=value\n#include <xen/errno.h>\n",
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    lines = (line.partition("=") for line in done.stdout.split())
    listed = {name: int(value) for name, _, value in lines if value.isdecimal()}
    # Linux's other names for two of the numbers.
    del listed["EWOULDBLOCK"], listed["EDEADLOCK"]
    assert {status.name: int(status) for status in Status} == listed
