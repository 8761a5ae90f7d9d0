# SPDX-License-Identifier: GPL-2.0-or-later
"""What one process writes down of a connection is what the next one reads, whenever the first was killed."""

from __future__ import annotations

import os
from collections.abc import Generator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.flip.kit import Page
from xendisplback._ext import load_flip
from xendisplback.frontend.journal import (
    AREA,
    FORMAT,
    PAGE,
    Journal,
    JournalMismatch,
    KeptBuffer,
    KeptConnection,
    KeptConnector,
    checksum,
)
from xendisplback.frontend.nodes import ConnectorNodes, FrontendNodes
from xendisplback.protocol.displif import DbufCreate, FbAttach
from xendisplback.protocol.formats import fourcc
from xendisplback.protocol.ring import IN_PROD, RSP_PROD, U32
from xendisplback.scanout.frame import Crop

COOKIE = 0xFFFF_8880_1234_5678
U64 = (1 << 64) - 1
RSP, IN, FLIP_RSP, FLIP_IN, LOW, HIGH = range(0, 24, 4)
"""struct xdb_record"""


def connection(buffers: int = 1, frames: int = 1) -> KeptConnection:
    node = ConnectorNodes(0, "HDMI-A-1", 800, 600, 8, 9, 10, 11)
    attach = FbAttach(7, U64, U64, 800, 600, fourcc("XR24"))
    create = DbufCreate(7, U64, 800, 600, 32, 800 * 600 * 4, 0, U32, 0)
    kept = [KeptBuffer(create, U32, [attach] * frames) for _ in range(buffers)]
    shown = KeptConnector(U64, Crop(0, 0, 800, 600), U32, bytes(range(64)))
    return KeptConnection(FORMAT, FrontendNodes(1, (node,) * 4), kept, [shown] * 4)


@pytest.fixture
def journal() -> Generator[Journal]:
    made = Journal()
    yield made
    made.close()


def reopened(journal: Journal) -> Journal:
    return Journal(os.dup(journal.fd))


def test_the_next_process_reads_what_was_written_last(journal: Journal) -> None:
    for number in range(5):
        journal.write(connection(buffers=number))
        later = reopened(journal)
        assert later.read() == connection(buffers=number)
        later.close()


def test_the_largest_connection_fits(journal: Journal) -> None:
    largest = connection(buffers=256, frames=4)
    journal.write(largest)
    assert journal.read() == largest
    assert PAGE < AREA


def test_what_was_being_written_when_the_process_was_killed_does_not_count(
    journal: Journal,
) -> None:
    journal.write(connection(buffers=3))
    journal.write(connection(buffers=2))
    # The next one would go to the other area; half of it is there.
    os.pwrite(journal.fd, b"{" * 1000, PAGE + AREA)
    assert journal.read() == connection(buffers=2)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"[" * 100000])
def test_what_is_no_journal_is_refused(journal: Journal, content: bytes) -> None:
    os.pwrite(journal.fd, content, PAGE)
    load_flip().lib.xdb_store_release(journal.record(0) - 64, len(content) << 1)
    with pytest.raises(JournalMismatch):
        journal.read()


def test_another_version_s_journal_is_refused(journal: Journal) -> None:
    journal.write(msgspec.structs.replace(connection(), format=FORMAT + 1))
    with pytest.raises(JournalMismatch, match="format"):
        journal.read()


def test_a_file_of_another_size_is_refused_and_closed() -> None:
    fd = os.memfd_create("other")
    with pytest.raises(JournalMismatch):
        Journal(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


@given(st.lists(st.integers(0, U32), min_size=1), st.integers(0), st.integers(0, U32))
def test_another_reference_is_noticed(refs: list[int], at: int, ref: int) -> None:
    others = list(refs)
    others[at % len(refs)] = ref
    assert (checksum(others) == checksum(refs)) == (others == refs)


class Connector:
    """A connector's record and pages, as a process left them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._requests, self._events = Page(), Page()

    def kept(self, where: int, value: int) -> Connector:
        load_flip().lib.xdb_store_release(self._journal.record(0) + where, value & U32)
        return self

    def flipped(self, answered_at: int, event_at: int) -> Connector:
        self.kept(FLIP_RSP, answered_at).kept(FLIP_IN, event_at)
        return self.kept(LOW, COOKIE).kept(HIGH, COOKIE >> 32)

    def shown(self, rsp_prod: int, in_prod: int) -> Connector:
        self._requests.store(RSP_PROD, rsp_prod & U32)
        self._events.store(IN_PROD, in_prod & U32)
        return self

    def read(self) -> tuple[int, bool]:
        flip = self._journal.flip(0, self._requests.address, self._events.address)
        return flip.fb_cookie, flip.event_owed


# A flip that takes the guest's rsp_prod from 10 to 11 and its in_prod from 20 to 21, cut off after each step, also
# where both wrap around.


@pytest.mark.parametrize("start", [0, -11 & U32, -21 & U32])
def test_an_event_is_owed_from_the_answer_to_the_event(journal: Journal, start: int) -> None:
    rsp, events = 10 + start, 20 + start
    connector = Connector(journal).kept(RSP, rsp).kept(IN, events).shown(rsp, events)
    assert connector.read() == (0, False)
    connector.flipped(rsp + 1, events)
    assert connector.read() == (COOKIE, False)
    connector.shown(rsp + 1, events)
    assert connector.read() == (COOKIE, True)
    connector.kept(RSP, rsp + 1)
    assert connector.read() == (COOKIE, True)
    connector.shown(rsp + 1, events + 1)
    assert connector.read() == (COOKIE, False)
    connector.kept(IN, events + 1)
    assert connector.read() == (COOKIE, False)


def test_the_next_flip_owes_nothing_before_it_is_answered(journal: Journal) -> None:
    connector = Connector(journal).kept(RSP, 11).kept(IN, 21).shown(11, 21).flipped(11, 20)
    assert connector.read() == (COOKIE, False)
    for step in ((FLIP_RSP, 12), (FLIP_IN, 21)):
        assert connector.kept(*step).read() == (COOKIE, False)


@pytest.mark.parametrize(("rsp_prod", "in_prod"), [(12, 20), (9, 20), (10, 22), (10, 19)])
def test_pages_that_we_did_not_leave_so_are_refused(
    journal: Journal, rsp_prod: int, in_prod: int
) -> None:
    connector = Connector(journal).kept(RSP, 10).kept(IN, 20).shown(rsp_prod, in_prod)
    with pytest.raises(JournalMismatch, match="connector 0: rsp_prod"):
        connector.read()
