# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon is restarted or killed, and its guests see nothing of it but a late flip."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from tests.rig.controller import controller
from tests.rig.dom0_link import RigError
from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64, GPU, RAMFB
from tests.rig.picture import Picture, difference, parse_ppm, pattern
from tests.rig.rig import Rig
from tests.rig.scenario import BOTH, expect, scenario
from tests.rig.ways import ZERO_COPY, nothing_held, shown

BE_ALLOC = "[be-alloc]\nper-domain = 16\n"
LATE = "timed-out"
"""Linux's frontend says so where a flip's event takes longer than 3.1 s."""


class Watching:
    """Takes screendumps all the time; what is none of the pictures is kept."""

    def __init__(self, rig: Rig, screen: int, expected: Sequence[Picture]) -> None:
        self.taken = 0
        self.wrong: list[str] = []
        self._rig, self._screen, self._expected = rig, screen, expected
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._done.is_set():
            dump = self._rig.machine.screendump(self._screen)
            picture = parse_ppm(dump)
            self.taken += 1
            if picture not in self._expected:
                self.wrong.append(str(difference(picture, self._expected[0])))
            time.sleep(0.1)

    def __enter__(self) -> Watching:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@contextmanager
def unwritten(rig: Rig, guest: Guest) -> Generator[None]:
    """Nobody writes the backend's state meanwhile: it stays Connected."""
    state = f"/local/domain/0/backend/vdispl/{guest.domid}/0/state"
    log = "/run/state-writes"
    rig.dom0.shell(f"nohup xenstore-watch {state} >{log} 2>&1 & echo $! >{log}.pid; sleep 0.5")
    try:
        yield
    finally:
        lines = rig.dom0.shell(f"kill $(cat {log}.pid); cat {log}").split()
    # A watch fires once when it is set.
    expect(lines == [state], f"the backend's state was written: {len(lines) - 1} times")
    found = rig.dom0.shell(f"xenstore-read {state}").strip()
    expect(found == "4", f"the backend's state is {found}")


def kill(rig: Rig) -> None:
    """Without warning; returns when systemd has started the next one."""
    pid = rig.daemon.pid()
    rig.dom0.run("kill", "-KILL", str(pid))
    deadline = time.monotonic() + 60
    while rig.daemon.state() != "active" or rig.daemon.pid() == pid:
        expect(time.monotonic() < deadline, "systemd did not start it again")
        time.sleep(0.5)


def go_on(rig: Rig, guest: Guest, screen: int, *, killed: bool, fourcc: str = "XR24") -> str:
    """Ended and started while ``guest`` flips, with pattern 0 shown; how it is shown afterwards."""
    late, before = len(guest.kernel_log(LATE)), len(guest.kernel_log("rror"))
    guest.ask(f"mode 0 800x600 {fourcc}")
    guest.flip(5)
    since = len(rig.daemon.log())
    # Of its two buffers.
    pictures = [pattern(800, 600, number, fourcc) for number in range(2)]
    with Watching(rig, screen, pictures) as watching, unwritten(rig, guest):
        guest.ask("flipfree 0")
        time.sleep(2)
        began = time.monotonic()
        if killed:
            kill(rig)
        else:
            rig.daemon.restart()
        rig.daemon.wait_for_log("taken over", since=since)
        gap = time.monotonic() - began
        time.sleep(2)
        flips = guest.stop()
    log = rig.daemon.log()[since:]
    expect(not watching.wrong, f"of {watching.taken} pictures: {watching.wrong}")
    expect(watching.taken > 5, f"only {watching.taken} pictures were taken")
    now_late = len(guest.kernel_log(LATE)) - late
    errors = guest.kernel_log("rror")[before:]
    expect(not errors, f"the guest's log: {errors}")
    # Python starts slowly under emulation. A guest gives an event 3.1 s and a request 3 s.
    allowed = 1 + int(gap / 3)
    expect(now_late <= allowed, f"{now_late} late flips after {gap:.1f} s without a daemon")
    # Nothing is left of the process before: the next buffers work as the first ones did.
    for number in (4, 5):
        guest.ask(f"show 0 {number}")
        rig.expect_picture(screen, pattern(800, 600, number, fourcc))
    guest.ask(f"mode 0 800x600 {fourcc}")
    guest.flip(20)
    rig.expect_picture(screen, pictures[0])
    line = next((line for line in log if "shown on" in line), "")
    how = line.partition(f"{fourcc}, ")[2].partition(" (")[0]
    return f"{how}: {gap:.1f} s without a daemon, {now_late} late, {flips.count} flips"


@scenario(400, machines=BOTH)
def restarted_under_flips(rig: Rig) -> str:
    """Copies: systemctl restart while a guest flips; state stays 4, the picture stays, flips go on."""
    guest = rig.guest_up("a")
    return go_on(rig, guest, 0, killed=False)


@scenario(400, machines=BOTH)
def killed_under_flips(rig: Rig) -> str:
    """Copies: the same for SIGKILL, three times."""
    guest = rig.guest_up("a")
    return "; ".join(go_on(rig, guest, 0, killed=True) for _ in range(3))


@scenario(240, machines=(ARM64.name,))
def zero_copy_over_restarts(rig: Rig) -> str:
    """Zero copy: restarted and killed while a guest flips; no modeset, and no picture is copied."""
    hows: list[str] = []
    with (
        controller(rig, "iommu=1 contiguous=1") as modelled,
        rig.own_guest("z", "HDMI-A-1:800x600") as guest,
    ):
        shown(rig, guest, "800x600 XR24", RAMFB)
        for killed in (False, True):
            modesets = modelled.counter("modesets")
            how = go_on(rig, guest, RAMFB, killed=killed)
            expect(how.startswith(ZERO_COPY), how)
            done = modelled.counter("modesets") - modesets
            expect(done == 0, f"{done} modesets")
            hows.append(how)
        nothing_wrong = modelled.counter("faults")
        expect(nothing_wrong == 0, f"the controller read {nothing_wrong} wrong addresses")
        guest.destroy()
        nothing_held(rig)
    return "; ".join(hows)


@scenario(300, machines=(ARM64.name,))
def be_alloc_over_restarts(rig: Rig) -> str:
    """be-alloc=1: the card's memory without a copy, and pages of gntalloc by copy, restarted and killed."""
    hows: list[str] = []
    # virtio-gpu has no memory of 16 bits a pixel.
    for connectors, screen, fourcc in (
        ("HDMI-A-1:800x600", RAMFB, "XR24"),
        ("Virtual-1:800x600", GPU, "RG16"),
    ):
        with (
            controller(rig, "iommu=0 contiguous=1", toml=BE_ALLOC),
            rig.own_guest("e", connectors, be_alloc=True) as guest,
        ):
            shown(rig, guest, f"800x600 {fourcc}", screen)
            for killed in (False, True):
                hows.append(go_on(rig, guest, screen, killed=killed, fourcc=fourcc))
            guest.destroy()
            # Not before Xen has ended it: frontend/allocation.py.
            time.sleep(4)
            nothing_held(rig)
            in_use = rig.dom0.shell("dmesg | grep 'still in use'", check=False)
            expect(not in_use, f"dom0's kernel: {in_use}")
    expect(hows[0].startswith(ZERO_COPY) and hows[2].startswith("by copy"), str(hows))
    return "; ".join(hows)


@scenario(400, machines=BOTH)
def stopped_after_a_restart(rig: Rig) -> str:
    """A stop is a stop: the guest is told, and a dead guest leaves nothing, also of an earlier process."""
    guest = rig.guest_up("a")
    guest.ask("mode 0 800x600 XR24")
    rig.daemon.restart()
    guest.flip(20)
    rig.daemon.stop()
    state = rig.dom0.shell(f"xenstore-read /local/domain/0/backend/vdispl/{guest.domid}/0/state")
    if state.strip() != "6":
        raise RigError(f"after the stop the state is {state.strip()}")
    rig.daemon.start()
    guest.open()
    guest.ask("mode 0 800x600 XR24")
    rig.expect_picture(0, pattern(800, 600, 0))
    rig.daemon.restart()
    guest.destroy()
    rig.no_zombies()
    return ""
