# SPDX-License-Identifier: GPL-2.0-or-later
"""The state machine of one vdispl device, seen from the backend: a table, and four rules above it.

Rules, in this order:

1. The device's backend path or its domain is gone: release everything, and end.
2. The toolstack wants it gone (``online`` is 0, whatever the states): release, publish Closed, end.
3. An earlier process left a connection that this one can go on with: take it over.
4. Otherwise the table decides, by the phase we are in and the frontend's state. A pair that is not in the
   table changes nothing.

What the rows rest on (Linux ``drivers/gpu/drm/xen/xen_drm_front.c``):

- InitWait makes a connected frontend tear its DRM device down and connect again, is ignored by one at
  Initialised, and makes one at Initialising publish its rings. So it may be written again at any time
  while we are not connected, and must be when a frontend returns to Initialising (back-end allocated
  buffers: it does so only after the last user closed the device, long after our first InitWait).
- Guest shutdown waits until it has *seen* Closing; module unload polls for InitWait. Both announce
  themselves with Closing, so we answer Closing, hold it until the frontend is Closed or ``HOLD_SECONDS``
  are over, and return to InitWait.
- libxl waits until it sees exactly InitWait, hence ``DWELL_SECONDS`` between InitWait and Connected.
- RELEASE comes before every state that lets the guest take its memory back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Final


class XenbusState(IntEnum):
    """``enum xenbus_state`` (xen/io/xenbus.h)."""

    Unknown = 0
    Initialising = 1
    InitWait = 2
    Initialised = 3
    Connected = 4
    Closing = 5
    Closed = 6
    Reconfiguring = 7
    Reconfigured = 8


class Phase(Enum):
    """Where we are with a device. More than the published state: two phases publish InitWait."""

    NEW = auto()
    """Found in XenStore; nothing published by this process."""
    WAITING = auto()
    """InitWait published; the frontend's rings are awaited."""
    CONNECTED = auto()
    HOLD = auto()
    """Closing published and everything released; the guest needs time to see it."""
    REFUSED = auto()
    """What the frontend published can't be used. InitWait stays until it publishes anew."""
    SHORT = auto()
    """The host refused what the connection takes, as while the guest is paged out. It is tried again."""
    BROKEN = auto()
    """The frontend broke the protocol, or we failed: Closed is published, a pause, then InitWait."""
    ENDED = auto()


class Action(Enum):
    """What a step does, in the order the step names them."""

    INIT_WAIT = XenbusState.InitWait
    CLOSING = XenbusState.Closing
    CLOSED = XenbusState.Closed
    CONNECT = "connect"
    """Read the connector nodes, map the rings, bind the channels, publish Connected."""
    TAKE_OVER = "take over"
    """The same for a connection that an earlier process served, with nothing published."""
    RELEASE = "release"
    """Unmap and free all that belongs to the connection."""


HOLD_SECONDS: Final = 0.2
BROKEN_SECONDS: Final = 1.0
SHORT_SECONDS: Final = 5.0
DWELL_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Observed:
    """What XenStore says about a device. ``backend_exists``: its ``state`` node is there."""

    frontend: XenbusState
    online: bool
    backend_exists: bool = True
    domain_exists: bool = True
    left_connected: bool = False
    """Connected is published, and an earlier process has left what it takes to go on."""


@dataclass(frozen=True, slots=True)
class Step:
    actions: tuple[Action, ...]
    phase: Phase


_S = XenbusState
_HOLD = Step((Action.CLOSING,), Phase.HOLD)
_WAIT = Step((Action.INIT_WAIT,), Phase.WAITING)
_CONNECT = Step((Action.CONNECT,), Phase.CONNECTED)
_DISCONNECT = Step((Action.RELEASE, Action.INIT_WAIT), Phase.WAITING)

TABLE: Final[Mapping[tuple[Phase, XenbusState], Step]] = {
    # A device that the toolstack made, or that an earlier daemon left behind in any state.
    (Phase.NEW, _S.Unknown): _WAIT,
    (Phase.NEW, _S.Initialising): _WAIT,
    (Phase.NEW, _S.InitWait): _WAIT,
    (Phase.NEW, _S.Initialised): _WAIT,
    (Phase.NEW, _S.Connected): _WAIT,
    (Phase.NEW, _S.Closing): _HOLD,
    (Phase.NEW, _S.Closed): _WAIT,
    (Phase.NEW, _S.Reconfiguring): _WAIT,
    (Phase.NEW, _S.Reconfigured): _WAIT,
    # Connected while we wait: it has not seen our InitWait yet, and will tear down by itself.
    (Phase.WAITING, _S.Initialising): _WAIT,
    (Phase.WAITING, _S.Initialised): _CONNECT,
    (Phase.WAITING, _S.Closing): _HOLD,
    # After an unplug the frontend sends no FB_DETACH and no DBUF_DESTROY: its state is all we get.
    (Phase.CONNECTED, _S.Unknown): _DISCONNECT,
    (Phase.CONNECTED, _S.Initialising): _DISCONNECT,
    (Phase.CONNECTED, _S.Closing): Step((Action.CLOSING, Action.RELEASE), Phase.HOLD),
    (Phase.CONNECTED, _S.Closed): _DISCONNECT,
    (Phase.CONNECTED, _S.Reconfiguring): _DISCONNECT,
    (Phase.CONNECTED, _S.Reconfigured): _DISCONNECT,
    (Phase.HOLD, _S.Initialising): _WAIT,
    (Phase.HOLD, _S.Closed): _WAIT,
    (Phase.REFUSED, _S.Initialising): _WAIT,
    (Phase.REFUSED, _S.Closing): _HOLD,
    (Phase.REFUSED, _S.Closed): _WAIT,
    (Phase.SHORT, _S.Initialising): _WAIT,
    (Phase.SHORT, _S.Closing): _HOLD,
    (Phase.SHORT, _S.Closed): _WAIT,
    (Phase.BROKEN, _S.Closing): _HOLD,
}

TIMEOUTS: Final[Mapping[Phase, tuple[float, Step]]] = {
    Phase.HOLD: (HOLD_SECONDS, _WAIT),
    Phase.SHORT: (SHORT_SECONDS, _CONNECT),
    Phase.BROKEN: (BROKEN_SECONDS, _WAIT),
}
"""Phases that end by themselves: after how many seconds, and with what step."""

_GONE = Step((Action.RELEASE,), Phase.ENDED)
_OFFLINE = Step((Action.RELEASE, Action.CLOSED), Phase.ENDED)
REFUSED = Step((Action.RELEASE,), Phase.REFUSED)
"""For what the frontend published and can't be served with."""
SHORT = Step((Action.RELEASE,), Phase.SHORT)
"""For a connection that the host refused."""
_TAKE_OVER = Step((Action.TAKE_OVER,), Phase.CONNECTED)
NOT_TAKEN_OVER = _DISCONNECT
"""For a connection that could not be taken over: the guest sees an unplug, and connects anew."""
FAILED = Step((Action.RELEASE, Action.CLOSED), Phase.BROKEN)
"""For a connection that ended by itself: a protocol violation, a host error, a bug of ours."""


def decide(phase: Phase, seen: Observed) -> Step | None:
    """The step that ``seen`` asks for in ``phase``; None if it asks for none."""
    if not seen.backend_exists:
        return _GONE
    if not seen.domain_exists or not seen.online:
        return _OFFLINE
    if (phase, seen.frontend, seen.left_connected) == (Phase.NEW, _S.Connected, True):
        return _TAKE_OVER
    return TABLE.get((phase, seen.frontend))
