# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may touch an output when: refreshes, pauses, and cards that never answer."""

from __future__ import annotations

import errno
import os
import threading
import time

from tests.flip.kit import CRTC, Connector, no_wait, until


def shown_once(connector: Connector, cookie: int) -> None:
    connector.flip(cookie)
    connector.committing(1)
    connector.flip_event()
    connector.shown(1)


def test_a_refresh_of_an_unchanged_picture_costs_no_commit(drawn: Connector) -> None:
    drawn.pictures.data.raw = os.urandom(len(drawn.pictures.data))
    drawn.put_on_screen(drawn.copying(7))
    time.sleep(0.2)
    assert drawn.commits == []
    shown_once(drawn, 7)
    time.sleep(0.2)
    assert len(drawn.commits) == 1, "a guest that flips seldom"
    assert drawn.flips.copies == 1


def test_after_flips_in_a_row_one_refresh_learns_what_is_on_screen(drawn: Connector) -> None:
    drawn.copying(7)
    drawn.instead = drawn.flip_event
    for number in range(1, 4):
        drawn.flip(7, number)
        drawn.shown(number)
    time.sleep(0.3)
    assert len(drawn.commits) <= 4
    assert len(drawn.flip_events()) == 3


def test_what_is_drawn_without_a_flip_is_shown_and_told_nobody(drawn: Connector) -> None:
    drawn.put_on_screen(drawn.copying(7))
    for number in range(1, 6):
        at = len(drawn.pictures.data) - number
        drawn.pictures.data[at] = bytes([number])
        drawn.committing(number)
        side = drawn.commits[-1] - 100
        assert drawn.buffers[side].data.raw == drawn.pictures.data.raw
        drawn.flip_event()
        drawn.settled()
    assert drawn.flip_events() == []


def test_a_driver_that_copies_at_commits_gets_one_at_each_refresh(drawn: Connector) -> None:
    drawn.zero_copy(7, refresh=True)
    drawn.instead = drawn.flip_event
    drawn.flip(7)
    until(lambda: len(drawn.commits) > 3, "refreshes")
    assert len(drawn.flip_events()) == 1


def test_without_refreshes_a_silent_guest_costs_nothing(connector: Connector) -> None:
    connector.copying(7)
    connector.instead = connector.flip_event
    connector.flip(7)
    connector.shown(1)
    connector.pictures.data[0] = b"\x01"
    # A flip in flight is looked after for a second.
    time.sleep(1.3)
    assert len(connector.commits) == connector.flips.copies == 1


def test_what_is_scanned_out_directly_needs_no_refresh(drawn: Connector) -> None:
    drawn.zero_copy(7)
    shown_once(drawn, 7)
    time.sleep(0.1)
    assert len(drawn.commits) == 1


def test_a_flip_that_meets_a_refresh_waits_for_it(drawn: Connector) -> None:
    drawn.put_on_screen(drawn.copying(7))
    drawn.pictures.data[0] = b"\x01"
    drawn.committing(1)
    drawn.flip(7)
    time.sleep(0.05)
    assert len(drawn.commits) == 1
    assert drawn.responses() == []
    drawn.flip_event()
    drawn.committing(2)
    drawn.flip_event()
    drawn.shown(1)


def test_a_refused_refresh_is_handed_over(drawn: Connector) -> None:
    drawn.put_on_screen(drawn.copying(7))
    drawn.refuse = errno.ENODEV
    drawn.pictures.data[0] = b"\x01"
    why, _, number = drawn.handed()
    assert (why, number) == (drawn.c.lib.XDB_NOT_REFRESHED, errno.ENODEV)


def test_a_pause_waits_for_what_is_on_its_way(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.flip(7)
    connector.committing(1)
    connector.flips.pause()
    assert not connector.flips.wait(0.02)
    threading.Timer(0.05, connector.flip_event).start()
    assert connector.flips.wait(5)
    assert len(connector.flip_events()) == 1


def test_a_flip_whose_event_never_comes_is_handed_over_after_a_second(connector: Connector) -> None:
    connector.zero_copy(7)
    started = time.monotonic()
    connector.flip(7)
    assert connector.handed()[0] == connector.c.lib.XDB_STUCK
    assert 0.9 < time.monotonic() - started < 3


def test_a_refreshed_output_that_is_stuck_is_found_too(drawn: Connector) -> None:
    drawn.copying(7)
    drawn.flip(7)
    assert drawn.handed()[0] == drawn.c.lib.XDB_STUCK


def test_an_abandoned_flip_has_its_event_and_a_late_one_of_the_card_does_nothing(
    connector: Connector,
) -> None:
    connector.zero_copy(7)
    connector.flip(7)
    connector.committing(1)
    connector.flips.stop()
    connector.flips.abandon()
    assert len(connector.flip_events()) == 1
    connector.flip_event()
    connector.flip(7, 2)
    assert connector.handed()[0] == connector.c.lib.XDB_REQUEST
    assert len(connector.flip_events()) == 1


def test_a_stop_during_a_commit_ends_that_flip_once(connector: Connector) -> None:
    """Whether the card takes it or refuses it: Python frees what it used only afterwards."""
    for number, refuse in enumerate((0, errno.ENODEV), 1):
        path = connector.zero_copy(7)
        entered, go = threading.Event(), threading.Event()

        def block(entered: threading.Event = entered, go: threading.Event = go) -> None:
            entered.set()
            go.wait(5)

        connector.instead, connector.refuse = block, refuse
        connector.flip(7, number)
        assert entered.wait(5)
        connector.flips.stop()
        abandoned = threading.Thread(target=connector.flips.abandon)
        abandoned.start()
        connector.shown(number)
        time.sleep(0.02)
        assert abandoned.is_alive(), "the commit still reads what Python would free"
        go.set()
        abandoned.join(5)
        assert not abandoned.is_alive()
        assert not connector.flips.shows(path)
        connector.nothing_handed()
        assert len(connector.flip_events()) == number


def test_a_path_replaces_the_one_with_its_cookie(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.still()
    connector.copying(7)
    connector.flips.resume()
    connector.flip(7)
    connector.committing(1)
    assert connector.commits == [100]


def test_a_removed_path_is_not_on_screen(connector: Connector) -> None:
    path = connector.zero_copy(7)
    shown_once(connector, 7)
    connector.still()
    assert connector.flips.shows(path)
    connector.flips.remove(path)
    assert not connector.flips.shows(path)
    connector.flips.resume()
    connector.flip(7, 2)
    assert connector.handed()[0] == connector.c.lib.XDB_REQUEST


def test_a_trace_holds_the_last_flips_in_the_order_of_their_stages(connector: Connector) -> None:
    connector.zero_copy(7)
    before = time.monotonic_ns()
    trace = connector.flips.trace(4)
    for number in range(1, 7):
        connector.flip(7, number)
        connector.committing(number)
        connector.flip_event()
        connector.shown(number)
    times = trace.close()
    assert len(times) == 4
    for flip in times:
        assert before < flip.doorbell < flip.answered < flip.committed
        assert flip.committed < flip.event < time.monotonic_ns()
        assert flip.vblank == 7_000_009_000, "as the card said"
    assert [flip.event for flip in times] == sorted(flip.event for flip in times)
    connector.flip(7)
    connector.committing(7)


def test_a_mirrored_flip_ends_when_all_outputs_show_it(connector: Connector) -> None:
    connector.mirrored(7)
    connector.flip(7)
    connector.committing(2)
    assert sorted(connector.commits) == [7, 8]
    connector.flip_event(CRTC + 1)
    no_wait()
    assert connector.flip_events() == []
    assert connector.flips.awaited == 1
    connector.flip_event(CRTC)
    connector.shown(1)


def test_a_mirror_that_refuses_is_named_and_the_other_one_goes_on(connector: Connector) -> None:
    connector.mirrored(7)
    connector.refuse, connector.refused = errno.EINVAL, {8}
    connector.flip(7)
    why, _, number = connector.handed()
    assert (why, number) == (connector.c.lib.XDB_REFUSED, errno.EINVAL)
    assert connector.flips.refused == 0b10
    connector.flips.pause()
    assert not connector.flips.wait(0.02), "the other one is on its way"
    connector.flip_event(CRTC)
    assert connector.flips.wait(5)
    assert connector.flip_events() == [], "Python sends it when it has shown the rest"


def test_who_is_not_told_any_more_waits_for_nothing(connector: Connector) -> None:
    connector.zero_copy(7)
    connector.flip(7)
    connector.committing(1)
    connector.card.tell(CRTC, None)
    connector.flip_event()
    no_wait()
    assert connector.flip_events() == []
    connector.flips.stop()
    connector.flips.abandon()
    connector.shown(1)
