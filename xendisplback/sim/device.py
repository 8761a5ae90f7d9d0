# SPDX-License-Identifier: GPL-2.0-or-later
"""A display device: connectors, CRTCs, primary planes, and a 60 Hz vblank in a thread of its own.

A non-blocking commit is in flight until the next vblank shows it; meanwhile another on the same CRTC is refused
with EBUSY, and a blocking one waits. Switches (``disconnect``, ``unplug``, ``stuck``, ...) act at once.
"""

from __future__ import annotations

import ctypes
import errno
import math
import os
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xendisplback.kms.geometry import Geometry
from xendisplback.protocol.formats import fourcc
from xendisplback.sim.controller import Controller
from xendisplback.sim.framebuffers import DumbMemory, SimFramebuffer
from xendisplback.sim.kms_objects import PLANE_PROPERTIES, SimConnector, SimCrtc, SimPlane
from xendisplback.sim.kms_state import (
    Layout,
    Objects,
    Refused,
    Values,
    check,
    composed,
    merge,
    needs_modeset,
    touched_crtcs,
)
from xendisplback.sim.monitor import REFRESH, make_edid, make_mode

PERIOD = 1 / REFRESH
STUCK_SECONDS = 10.0
"""A blocking commit waits so long for the flip before it, as the kernel's helpers do."""
_FLIP_COMPLETE = 2
_EVENT = struct.Struct("=IIQIIII")
"""DRM_EVENT_FLIP_COMPLETE, struct drm_event_vblank (drm.h)"""


@dataclass(frozen=True, slots=True)
class Screen:
    """What a monitor shows."""

    width: int
    height: int
    pixels: bytes
    """XRGB8888, little-endian, X = 0, no padding."""

    def colour(self, x: int, y: int) -> int:
        """0xRRGGBB."""
        start = (y * self.width + x) * 4
        return int.from_bytes(self.pixels[start : start + 3], "little")


@dataclass(frozen=True, slots=True)
class FlipRecord:
    """One flip that was shown; times of CLOCK_MONOTONIC."""

    connector: str
    committed_at: float
    shown_at: float


@dataclass(slots=True)
class _Flip:
    state: Values
    committed_at: float
    due: float


def _planes(index: int, formats: frozenset[int], overlays: int) -> list[SimPlane]:
    """Of one CRTC, the primary one first."""
    planes = [SimPlane(231 + index, "Primary", formats, 1 << index)]
    for number in range(overlays):
        plane_id = 331 + 10 * index + number
        planes.append(SimPlane(plane_id, "Overlay", formats, 1 << index, zpos=number + 1))
    return planes


class DisplayDevice:
    """One CRTC and one primary plane for each of ``connectors``; any connector reaches any CRTC."""

    def __init__(
        self,
        connectors: Sequence[str] = ("HDMI-A-1", "HDMI-A-2"),
        modes: Sequence[str] = ("1024x768", "800x600", "640x480"),
        formats: Sequence[str] = ("XR24",),
        path: str = "/dev/dri/card0",
        controller: Controller | None = None,
        overlays: int = 0,
        scales: bool = False,
        most_planes: int = 8,
    ) -> None:
        """``overlays``: planes in front of each CRTC's primary one. ``scales``: planes do. ``most_planes``: of one
        CRTC, shown at a time.
        """
        self.path = path
        self.driver = "sim"
        self.controller = Controller() if controller is None else controller
        self.dumb = True
        """Whether it offers dumb buffers."""
        self.open_seconds = 0.0
        """How long opening it takes."""
        self.refuse_commits = 0
        """The errno that every commit gets; 0: none."""
        self.stuck = False
        """No vblank comes any more."""
        self.gone = False
        self.master = True
        """Whether an open card is; :meth:`lose_master`."""
        self.regain_allowed = False
        self.on_change: Callable[[DisplayDevice], None] = lambda device: None
        """The kernel's uevent."""
        self.commits = 0
        self.modesets = 0
        self.calls: Counter[str] = Counter()
        """How often each was called: ``imports``, ``addfb``, ``dumb``; under the lock."""
        self.log: deque[FlipRecord] = deque(maxlen=10000)
        self.lock = threading.Condition()
        everything = (1 << len(connectors)) - 1
        indices = range(len(connectors))
        self.objects = Objects(
            {31 + i: SimConnector(31 + i, connectors[i], everything) for i in indices},
            {131 + i: SimCrtc(131 + i, i) for i in indices},
            {
                plane.id: plane
                for i in indices
                for plane in _planes(i, frozenset(map(fourcc, formats)), overlays)
            },
            scales=scales,
            most_planes=most_planes,
        )
        self._modes = [make_mode(size, preferred=not i) for i, size in enumerate(modes)]
        self._plugged = set(connectors)
        self._state = self._blank_state()
        """As of the last commit that was accepted."""
        self._shown = self._state
        self._flips: dict[int, _Flip] = {}
        self._counts: Counter[str] = Counter()
        self._next_id = 1000
        self._others: list[SimFramebuffer] = []
        """Framebuffers of :meth:`light_elsewhere`."""
        self._send_event: Callable[[bytes], None] | None = None
        self._stopping = False
        # A flip makes the one system call that the ioctl would make; nobody reads it.
        self._ioctl_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoch = time.monotonic()
        self._thread = threading.Thread(target=self._vblank, name="sim-vblank", daemon=True)
        self.thread_id = 0

    def _blank_state(self) -> Values:
        state: Values = {id: {"CRTC_ID": 0} for id in self.objects.connectors}
        state |= {id: {"ACTIVE": 0, "MODE_ID": 0} for id in self.objects.crtcs}
        return state | {id: dict.fromkeys(PLANE_PROPERTIES, 0) for id in self.objects.planes}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self.lock:
            self._stopping = True
            self.lock.notify_all()
        self._thread.join()
        os.close(self._ioctl_fd)

    # What people see, and do to it

    def screen(self, connector: str) -> Screen | None:
        """What the monitor on ``connector`` shows; None: nothing, it is dark."""
        with self.lock:
            id = self._connector_id(connector)
            if self.gone or connector not in self._plugged:
                return None
            crtc_id = self._shown[id]["CRTC_ID"]
            if not crtc_id or not self._shown[crtc_id]["ACTIVE"]:
                return None
            mode = self.objects.modes[self._shown[crtc_id]["MODE_ID"]]
            return Screen(
                mode.hdisplay, mode.vdisplay, composed(crtc_id, mode, self._shown, self.objects)
            )

    def flips(self, connector: str) -> int:
        """How many flips this connector has shown."""
        with self.lock:
            return self._counts[connector]

    @property
    def framebuffers(self) -> int:
        """How many exist, but for other programs'."""
        with self.lock:
            return len(self.objects.framebuffers) - len(self._others)

    def disconnect(self, connector: str) -> None:
        """Pull the monitor's cable."""
        with self.lock:
            self._plugged.discard(connector)
        self.on_change(self)

    def connect(self, connector: str) -> None:
        with self.lock:
            self._plugged.add(connector)
        self.on_change(self)

    def light_elsewhere(self, connector: str, crtc: int, *, overlays: bool = False) -> None:
        """Another program, or the console, has lit ``connector`` by that CRTC, in its first mode.

        ``overlays``: and has grey on all planes in front.
        """
        mode = self._modes[0]
        mode_id, framebuffer_id = self.new_id(), self.new_id()
        width, height = mode.hdisplay, mode.vdisplay
        memory = DumbMemory(width, height, 32, 4)
        ctypes.memset(memory.address, 0x80, memory.size)
        geometry = Geometry(width, height, memory.pitch, 0, fourcc("XR24"))
        framebuffer = SimFramebuffer(
            framebuffer_id, geometry, memory.address, lambda _: memory.unmap()
        )
        picture = {"FB_ID": framebuffer_id, "CRTC_ID": 131 + crtc, "CRTC_W": width}
        picture |= {"CRTC_H": height, "SRC_W": width << 16, "SRC_H": height << 16}
        with self.lock:
            self.objects.modes[mode_id] = mode
            self.objects.framebuffers[framebuffer_id] = framebuffer
            self._others.append(framebuffer)
            after = merge(self._state, {self._connector_id(connector): {"CRTC_ID": 131 + crtc}})
            after = merge(after, {131 + crtc: {"ACTIVE": 1, "MODE_ID": mode_id}})
            for plane in self.objects.planes.values() if overlays else ():
                if plane.type == "Overlay" and plane.possible_crtcs >> crtc & 1:
                    after = merge(after, {plane.id: picture})
            self._state = self._shown = after

    def lose_master(self) -> None:
        """As logind does at a VT switch; it may come back when :attr:`regain_allowed`."""
        with self.lock:
            self.master = self.regain_allowed = False

    def take_master(self) -> bool:
        """Raises Refused."""
        with self.lock:
            if self.gone:
                raise Refused(errno.ENODEV, "the device is gone")
            self.master = self.master or self.regain_allowed
            return self.master

    def unplug(self) -> None:
        """The device itself is gone, as after the driver was unbound. Nobody who reads its events is told."""
        with self.lock:
            self.gone = True
            self._flips.clear()
            for framebuffer in self.objects.framebuffers.values():
                framebuffer.vanish()
            self.lock.notify_all()
        self.on_change(self)

    def matches(self, selector: str) -> bool:
        """A selector is a path, ``driver:NAME`` or ``connector:NAME``."""
        kind, _, name = selector.partition(":")
        if kind == "driver":
            return name == self.driver
        if kind == "connector":
            return name in [connector.name for connector in self.objects.connectors.values()]
        return selector == self.path

    def _connector_id(self, name: str) -> int:
        return next(id for id, c in self.objects.connectors.items() if c.name == name)

    # What an open card does with it

    def take(
        self, send_event: Callable[[bytes], None], *, over: bool = False
    ) -> Sequence[SimFramebuffer]:
        """Become master; ``over``: in the place of a killed daemon. Returns its framebuffers. Raises Refused."""
        with self.lock:
            if self.gone:
                raise Refused(errno.ENODEV, "the device is gone")
            if self._send_event is not None and not over:
                raise Refused(errno.EBUSY, "another one is master")
            self._send_event = send_event
            return [f for f in self.objects.framebuffers.values() if f not in self._others]

    def give_back(self) -> None:
        """No master any more: everything is blank."""
        with self.lock:
            self._send_event = None
            self._flips.clear()
            self._state = self._shown = self._blank_state()

    def probe(self) -> None:
        """Raises Refused."""
        with self.lock:
            if self.gone:
                raise Refused(errno.ENODEV, "the device is gone")
            for connector in self.objects.connectors.values():
                connector.connected = connector.name in self._plugged
                connector.modes = self._modes if connector.connected else []
                connector.edid = make_edid() if connector.connected else b""
                connector.crtc_id = self._state[connector.id]["CRTC_ID"]
            for plane in self.objects.planes.values():
                plane.crtc_id = self._state[plane.id]["CRTC_ID"]

    def new_id(self) -> int:
        with self.lock:
            self._next_id += 1
            return self._next_id

    def count_call(self, name: str) -> None:
        """Raises Refused where the device is gone."""
        with self.lock:
            self.calls[name] += 1
            if self.gone:
                raise Refused(errno.ENODEV, "the device is gone")

    def has_format(self, format: int) -> bool:
        return any(format in plane.formats for plane in self.objects.planes.values())

    def add_framebuffer(self, framebuffer: SimFramebuffer) -> None:
        with self.lock:
            self.objects.framebuffers[framebuffer.id] = framebuffer

    def remove_framebuffer(self, framebuffer: SimFramebuffer) -> None:
        """RMFB: what shows it goes dark."""
        with self.lock:
            del self.objects.framebuffers[framebuffer.id]
            for id in self.objects.planes:
                for state in (self._state, self._shown):
                    if state[id]["FB_ID"] == framebuffer.id:
                        state[id] |= {"FB_ID": 0, "CRTC_ID": 0}

    def test(self, layout: Layout, *, allow_modeset: bool) -> Values:
        """The state after a commit of ``layout``. Raises Refused."""
        if self.gone:
            raise Refused(errno.ENODEV, "the device is gone")
        if not self.master:
            raise Refused(errno.EACCES, "not master")
        if self.refuse_commits:
            raise Refused(self.refuse_commits, "switched to refuse")
        after = merge(self._state, layout)
        check(after, self.objects)
        if needs_modeset(self._state, after, self.objects) and not allow_modeset:
            raise Refused(errno.EINVAL, "a modeset that was not allowed")
        return after

    def _accept(self, layout: Layout, *, allow_modeset: bool) -> Values:
        """The state after a commit of ``layout`` that is not only a test. Raises Refused."""
        after = self.test(layout, allow_modeset=allow_modeset)
        for id in layout.keys() & self.objects.planes.keys():
            framebuffer = self.objects.framebuffers.get(after[id]["FB_ID"])
            if framebuffer is not None and framebuffer.imported and self.controller.refuse_imported:
                raise Refused(self.controller.refuse_imported, "imported memory")
        return after

    def commit(self, layout: Layout, *, allow_modeset: bool) -> None:
        """Waits for flips in flight, then acts at once. Raises Refused."""
        with self.lock:
            crtcs = touched_crtcs(self._state, layout, self.objects)
            self.lock.wait_for(lambda: not crtcs & self._flips.keys(), STUCK_SECONDS)
            after = self._accept(layout, allow_modeset=allow_modeset)
            self.commits += 1
            self.modesets += needs_modeset(self._state, after, self.objects)
            self._state = after
            self._shown = merge(self._shown, {id: after[id] for id in layout})
            self.lock.notify_all()

    def flip(self, layout: Layout, crtc_id: int) -> None:
        """A non-blocking commit with an event for ``crtc_id``. Raises Refused."""
        with self.lock:
            if crtc_id in self._flips:
                raise Refused(errno.EBUSY, "the previous flip is in flight")
            after = self._accept(layout, allow_modeset=False)
            if not after[crtc_id]["ACTIVE"]:
                raise Refused(errno.EINVAL, "an event for a CRTC that is off")
            self.commits += 1
            self._state = after
            now = time.monotonic()
            changed = {id: after[id] for id in layout}
            self._flips[crtc_id] = _Flip(changed, now, self._vblank_after(now))
            os.eventfd_write(self._ioctl_fd, 1)

    # The vblank

    def _vblank_after(self, moment: float) -> float:
        return self._epoch + (math.floor((moment - self._epoch) / PERIOD) + 1) * PERIOD

    def _vblank(self) -> None:
        """Thread: ticks while a CRTC is active, so that a flip need not wake it; sleeps otherwise."""
        self.thread_id = threading.get_native_id()
        with self.lock:
            while not self._stopping:
                if not any(self._state[id]["ACTIVE"] for id in self.objects.crtcs):
                    self.lock.wait()
                    continue
                vblank = self._vblank_after(time.monotonic())
                while (early := vblank - time.monotonic()) > 0 and not self._stopping:
                    self.lock.wait(early)
                if not self.stuck:
                    self._show(vblank)

    def _show(self, vblank: float) -> None:
        for crtc_id, flip in list(self._flips.items()):
            if flip.due > vblank + PERIOD / 2:
                continue
            del self._flips[crtc_id]
            self._shown = merge(self._shown, flip.state)
            for id, connector in self.objects.connectors.items():
                if self._shown[id]["CRTC_ID"] == crtc_id:
                    self._counts[connector.name] += 1
                    self.log.append(FlipRecord(connector.name, flip.committed_at, vblank))
            if self._send_event is not None:
                seconds, fraction = divmod(vblank, 1)
                sequence = round((vblank - self._epoch) / PERIOD) & 0xFFFFFFFF
                micros = int(fraction * 1e6)
                self._send_event(
                    _EVENT.pack(_FLIP_COMPLETE, 32, 0, int(seconds), micros, sequence, crtc_id)
                )
        self.lock.notify_all()
