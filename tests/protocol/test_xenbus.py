# SPDX-License-Identifier: GPL-2.0-or-later
"""The state machine of a device: every life of protocol.md section 3 as a list of what is seen and done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xendisplback.protocol.xenbus import (
    FAILED,
    SHORT,
    TABLE,
    TIMEOUTS,
    Action,
    Observed,
    Phase,
    Step,
    XenbusState,
    decide,
)

S = XenbusState
INIT_WAIT, CLOSING, CLOSED, CONNECT, RELEASE = (
    Action.INIT_WAIT,
    Action.CLOSING,
    Action.CLOSED,
    Action.CONNECT,
    Action.RELEASE,
)
TIMEOUT = "the phase's time is over"


def live(
    *seen: XenbusState | str | Observed, phase: Phase = Phase.NEW
) -> tuple[list[Action], Phase]:
    """All actions, in order, of a device that shows ``seen`` one after the other."""
    actions: list[Action] = []
    for sight in seen:
        step: Step | None
        if isinstance(sight, str):
            assert sight == TIMEOUT
            step = TIMEOUTS[phase][1]
        else:
            observed = sight if isinstance(sight, Observed) else Observed(sight, online=True)
            step = decide(phase, observed)
        if step is not None:
            actions += step.actions
            phase = step.phase
    return actions, phase


def test_normal_start_publishes_init_wait_and_connects_when_the_rings_are_there() -> None:
    assert live(S.Initialising, S.Initialised, S.Connected) == (
        [INIT_WAIT, CONNECT],
        Phase.CONNECTED,
    )


def test_reconnect_releases_before_init_wait() -> None:
    """An unplugged frontend goes through Reconfiguring and Initialising and publishes new rings."""
    actions, phase = live(S.Reconfiguring, S.Initialising, S.Initialised, phase=Phase.CONNECTED)
    assert actions == [RELEASE, INIT_WAIT, INIT_WAIT, CONNECT]
    assert phase is Phase.CONNECTED


def test_be_alloc_frontend_that_returns_late_gets_init_wait_again() -> None:
    actions, phase = live(S.Reconfiguring, phase=Phase.CONNECTED)
    assert actions == [RELEASE, INIT_WAIT]
    assert live(S.Initialising, phase=phase) == ([INIT_WAIT], Phase.WAITING)


def test_module_unload_sees_closing_and_then_init_wait() -> None:
    actions, phase = live(S.Closing, TIMEOUT, S.Initialising, S.Closed, phase=Phase.CONNECTED)
    assert actions == [CLOSING, RELEASE, INIT_WAIT, INIT_WAIT]
    assert phase is Phase.WAITING


def test_guest_shutdown_holds_closing_until_the_frontend_is_closed() -> None:
    assert live(S.Closing, phase=Phase.CONNECTED) == ([CLOSING, RELEASE], Phase.HOLD)
    assert live(S.Closed, phase=Phase.HOLD) == ([INIT_WAIT], Phase.WAITING)
    assert live(Observed(S.Closed, online=False), phase=Phase.HOLD) == (
        [RELEASE, CLOSED],
        Phase.ENDED,
    )


def test_attach_is_a_normal_start() -> None:
    assert live(S.Unknown, S.Initialised) == ([INIT_WAIT, CONNECT], Phase.CONNECTED)


@pytest.mark.parametrize("phase", [p for p in Phase if p is not Phase.ENDED])
@pytest.mark.parametrize("state", list(S))
def test_offline_always_ends_at_closed_with_everything_released(
    phase: Phase, state: XenbusState
) -> None:
    assert live(Observed(state, online=False), phase=phase) == ([RELEASE, CLOSED], Phase.ENDED)


@pytest.mark.parametrize("state", list(S))
def test_death_of_the_domain_releases_whatever_its_nodes_say(state: XenbusState) -> None:
    dead = Observed(state, online=True, domain_exists=False)
    assert live(dead, phase=Phase.CONNECTED) == ([RELEASE, CLOSED], Phase.ENDED)


def test_removed_backend_path_is_released_and_not_written_to() -> None:
    gone = Observed(S.Unknown, online=False, backend_exists=False)
    assert live(gone, phase=Phase.CONNECTED) == ([RELEASE], Phase.ENDED)


def test_frontend_already_connected_when_the_daemon_starts_is_made_to_reconnect() -> None:
    """InitWait makes it tear down by itself; nothing is connected to its old rings."""
    assert live(S.Connected) == ([INIT_WAIT], Phase.WAITING)
    actions, phase = live(S.Connected, S.Reconfiguring, S.Initialising, S.Initialised)
    assert actions == [INIT_WAIT, INIT_WAIT, CONNECT]
    assert phase is Phase.CONNECTED


def test_broken_frontend_gets_a_pause_then_another_chance() -> None:
    assert FAILED.actions == (RELEASE, CLOSED)
    actions, phase = live(S.Initialising, TIMEOUT, S.Initialised, phase=FAILED.phase)
    assert actions == [INIT_WAIT, CONNECT]
    assert phase is Phase.CONNECTED


def test_refused_frontend_is_tried_again_only_when_it_publishes_anew() -> None:
    assert live(S.Initialised, phase=Phase.REFUSED) == ([], Phase.REFUSED)
    assert live(S.Initialising, S.Initialised, phase=Phase.REFUSED) == (
        [INIT_WAIT, CONNECT],
        Phase.CONNECTED,
    )


def test_what_the_host_refused_is_tried_again_by_itself() -> None:
    assert SHORT.actions == (RELEASE,)
    assert live(S.Initialised, TIMEOUT, phase=SHORT.phase) == ([CONNECT], Phase.CONNECTED)
    assert live(S.Closed, phase=SHORT.phase) == ([INIT_WAIT], Phase.WAITING)


def test_every_new_device_gets_a_first_step() -> None:
    assert {state for phase, state in TABLE if phase is Phase.NEW} == set(S)


@given(st.lists(st.sampled_from(S)), st.integers(0, 10))
def test_whatever_a_frontend_writes_a_connection_is_released_before_the_next(
    states: list[XenbusState], failures: int
) -> None:
    phase, connected = Phase.NEW, False
    for number, state in enumerate(states):
        step = FAILED if connected and number == failures else decide(phase, Observed(state, True))
        if step is None:
            continue
        for action in step.actions:
            if action is CONNECT:
                assert not connected
                connected = True
            elif action is RELEASE:
                connected = False
            elif action in (INIT_WAIT, CLOSED):
                assert not connected, "the guest takes its memory back on this state"
        phase = step.phase
    assert connected == (phase is Phase.CONNECTED)
