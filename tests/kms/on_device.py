# SPDX-License-Identifier: GPL-2.0-or-later
"""Exercises xendisplback.kms on a real KMS device; prints a PASS or FAIL line for each behaviour.

    python tests/kms/on_device.py /dev/dri/card0 [--hold SECONDS] [--unplug] | --no-kms

Needs root and a device that nobody else is master of. Exit code 1 if anything failed. ``--hold``
keeps each picture on screen after a line ``HOLD name width height seed``, for someone outside to
compare it with :func:`pattern`. ``--unplug`` unbinds the driver at the end and leaves it so.
``--no-kms`` only checks what is said about a device that has no displays.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import fcntl
import os
import struct
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.commits import submit
from tests.drm_events import FlipEvent, read_events
from xendisplback import host
from xendisplback._ext import load_drm
from xendisplback.errors import HostError
from xendisplback.kms.atomic import AtomicReq
from xendisplback.kms.card import Card
from xendisplback.kms.device import Device
from xendisplback.kms.dumb import DumbBuffer, DumbFramebuffer
from xendisplback.kms.geometry import Geometry
from xendisplback.kms.mode import Mode
from xendisplback.kms.properties import Properties, PropertyTables
from xendisplback.kms.select import open_cards
from xendisplback.scanout.assign import assign_crtcs, primary_planes

XR24 = int.from_bytes(b"XR24", "little")
PRIME_HANDLE_TO_FD = 0xC00C642D  # DRM_IOWR(0x2d, struct drm_prime_handle)
Hold = Callable[["Screen", int], None]


def pattern(width: int, height: int, seed: int) -> Iterator[bytes]:
    """Rows of XRGB8888: every pixel of a 256 x 256 tile differs, every tile and every seed too."""
    blue = bytes((x + seed) & 255 for x in range(width))
    for y in range(height):
        row = bytearray(4 * width)
        row[0::4] = blue
        row[1::4] = bytes([y & 255]) * width
        row[2::4] = bytes(((x >> 8) * 16 + (y >> 8) * 64 + seed) & 255 for x in range(width))
        yield bytes(row)


class Report:
    failed = 0

    def check(self, what: str, ok: bool, detail: object = "") -> None:
        self.failed += not ok
        print(
            f"{'PASS' if ok else 'FAIL'} {what}{f': {detail}' if detail != '' else ''}", flush=True
        )

    def refused(self, what: str, call: Callable[[], object], *words: str) -> None:
        """``call`` raises HostError with ``words`` in its text."""
        try:
            call()
        except HostError as error:
            self.check(what, all(word in str(error) for word in words), error)
        else:
            self.check(what, False, "nothing raised")


class Reader:
    """Reads state back over a second open file, without master."""

    def __init__(self, path: str) -> None:
        self.device = Device(path)
        self.device.drop_master()
        lib = self.device.lib
        self.device.check(lib.drmSetClientCap(self.device.fd, lib.DRM_CLIENT_CAP_ATOMIC, 1), "cap")
        self._tables = PropertyTables(self.device)

    def properties(self, object_id: int) -> Properties:
        return self._tables.read(object_id)

    def value(self, object_id: int, name: str) -> int:
        return self.properties(object_id).values[name]


@dataclass
class Screen:
    """One lit output with two framebuffers."""

    card: host.Card
    connector: host.Connector
    crtc: host.Crtc
    plane: host.Plane
    mode: Mode
    framebuffers: list[host.DumbFramebuffer]
    commits: list[host.PreparedCommit]

    def submit(self, index: int) -> int:
        return submit(self.commits[index])

    def close(self) -> None:
        for commit in self.commits:
            commit.close()
        for framebuffer in self.framebuffers:
            framebuffer.close()


def draw(memory: host.DumbFramebuffer | host.CardMemory, mode: Mode, seed: int) -> None:
    for y, row in enumerate(pattern(mode.hdisplay, mode.vdisplay, seed)):
        ctypes.memmove(memory.address + y * memory.pitch, row, len(row))


def modeset(screen: Screen, blob: host.Blob, framebuffer: host.Framebuffer) -> AtomicReq:
    request = screen.card.atomic()
    assert isinstance(request, AtomicReq)
    width, height = screen.mode.hdisplay, screen.mode.vdisplay
    request.add(screen.connector, {"CRTC_ID": screen.crtc.id})
    request.add(screen.crtc, {"MODE_ID": blob.id, "ACTIVE": 1})
    request.add(
        screen.plane,
        {
            "FB_ID": framebuffer.id,
            "CRTC_ID": screen.crtc.id,
            "CRTC_X": 0,
            "CRTC_Y": 0,
            "CRTC_W": width,
            "CRTC_H": height,
            "SRC_X": 0,
            "SRC_Y": 0,
            "SRC_W": width << 16,
            "SRC_H": height << 16,
        },
    )
    return request


def light(card: host.Card, seed: int, report: Report) -> list[Screen]:
    """Light every connected output with the pattern of ``seed``, ``seed + 1``..."""
    crtcs = assign_crtcs(card.connectors, card.crtcs)
    planes = primary_planes(list(crtcs.values()), card.planes)
    screens: list[Screen] = []
    for connector in card.connectors:
        if not connector.connected or connector.id not in crtcs:
            continue
        crtc = crtcs[connector.id]
        # Small first: every pixel is drawn by Python, and QEMU's TCG is slow.
        mode = min(connector.modes, key=lambda m: (m.hdisplay > 1280, not m.preferred))
        backs = [card.dumb_framebuffer(mode.hdisplay, mode.vdisplay, XR24) for _ in range(2)]
        zeroed = all(not any(ctypes.string_at(fb.address, fb.size)) for fb in backs)
        report.check(f"{connector.name} dumb buffers are zeroed", zeroed)
        screen = Screen(card, connector, crtc, planes[crtc.id], mode, backs, [])
        draw(backs[0], mode, seed + len(screens))
        draw(backs[1], mode, seed + len(screens))
        blob = card.mode_blob(mode)
        request = modeset(screen, blob, backs[0])
        report.check(f"{connector.name} {mode} TEST_ONLY", request.test(allow_modeset=True))
        request.commit(allow_modeset=True)
        blob.close()
        for framebuffer in backs:
            flip = card.atomic()
            flip.add(screen.plane, {"FB_ID": framebuffer.id})
            screen.commits.append(flip.prepare_flip(crtc))
        screens.append(screen)
    return screens


def check_flips(screen: Screen, report: Report, flips: int = 30) -> None:
    begin = time.monotonic()
    events: list[FlipEvent] = []
    results: set[int] = set()
    for i in range(flips):
        results.add(screen.submit((i + 1) % 2))
        events += read_events(screen.card.fd)
    rate = flips / (time.monotonic() - begin)
    right = all(event.crtc_id == screen.crtc.id for event in events)
    times = [event.seconds for event in events]
    name = screen.connector.name
    report.check(
        f"{name} {flips} flips, an event for each",
        results == {0} and len(events) == flips and right,
        f"{rate:.0f}/s, results {results}, {len(events)} events",
    )
    now = time.monotonic()
    report.check(
        f"{name} event times are CLOCK_MONOTONIC and rise",
        times == sorted(times) and begin - 1 < times[0] and times[-1] <= now + 1,
    )
    results.clear()
    accepted = 0
    for i in range(100):
        result = screen.submit(i % 2)
        results.add(result)
        accepted += result == 0
        if result == -errno.EBUSY:
            accepted -= len(read_events(screen.card.fd))
    rest = read_events(screen.card.fd, accepted)
    report.check(
        f"{name} a flip too early is refused with EBUSY",
        results <= {0, -errno.EBUSY} and len(rest) == accepted,
        f"seen {sorted(results)}",
    )
    report.check(f"{name} no event left", read_events(screen.card.fd, seconds=0) == [])


def check_state(screen: Screen, reader: Reader, report: Report) -> None:
    plane, crtc = screen.plane, screen.crtc
    shown = reader.value(plane.id, "FB_ID")
    report.check(
        f"{screen.connector.name} state reads back",
        shown in {fb.id for fb in screen.framebuffers}
        and reader.value(plane.id, "CRTC_ID") == crtc.id
        and reader.value(crtc.id, "ACTIVE") == 1
        and reader.value(screen.connector.id, "CRTC_ID") == crtc.id,
    )


def check_refusals(card: Card, screen: Screen, report: Report) -> None:
    report.refused("a second opener is refused", lambda: Card(card.path), "not DRM master")
    request = card.atomic()
    report.refused(
        "an unknown property is refused",
        lambda: request.add(screen.plane, {"NO_SUCH": 1}),
        "no property NO_SUCH",
    )
    beyond = card.atomic()
    beyond.add(screen.plane, {"SRC_W": (screen.mode.hdisplay + 64) << 16})
    report.check("TEST_ONLY says no to a source beyond the framebuffer", not beyond.test())
    report.refused("the same commit is refused", beyond.commit, "refused a commit")
    report.refused(
        "a huge dumb buffer is refused", lambda: card.dumb_framebuffer(1 << 20, 1 << 20, XR24)
    )
    report.refused(
        "garbage is no dma-buf", lambda: card.import_framebuffer(0, Geometry(8, 8, 32, 0, XR24))
    )


def check_import(card: Card, reader: Reader, screen: Screen, report: Report) -> None:
    """A dumb buffer of another open file, imported twice."""
    if not card.can_import:
        print(f"NOTE {card.driver} has no PRIME import", flush=True)
        return
    width, height = screen.mode.hdisplay, screen.mode.vdisplay
    buffer = DumbBuffer(reader.device, width, height, 32)
    argument = struct.pack("=IIi", buffer.handle, os.O_CLOEXEC, -1)
    dmabuf = struct.unpack("=IIi", fcntl.ioctl(reader.device.fd, PRIME_HANDLE_TO_FD, argument))[2]
    geometry = Geometry(width, height, buffer.pitch, 0, XR24)
    first, second = (card.import_framebuffer(dmabuf, geometry) for _ in range(2))
    os.close(dmabuf)
    first.close()
    shown = card.atomic()
    shown.add(screen.plane, {"FB_ID": second.id})
    shown.commit()
    report.check(
        "an imported dma-buf is shown", reader.value(screen.plane.id, "FB_ID") == second.id
    )
    back = card.atomic()
    back.add(screen.plane, {"FB_ID": screen.framebuffers[0].id})
    back.commit()
    second.close()
    buffer.close()


def dmabufs() -> str:
    """What there is in the kernel: ``Total 2 objects, 6144000 bytes``."""
    return Path("/sys/kernel/debug/dma_buf/bufinfo").read_text().strip().rpartition("\n")[2]


def check_card_memory(screen: Screen, reader: Reader, report: Report, hold: Hold) -> None:
    """A dumb buffer as a dma-buf, imported into its own device."""
    card, mode = screen.card, screen.mode
    if not card.can_import:
        report.refused(
            "card memory without PRIME is refused",
            lambda: card.dumb_memory(mode.hdisplay, mode.vdisplay, 32),
            "exports no dma-buf",
        )
        return
    before = dmabufs()
    memory = card.dumb_memory(mode.hdisplay, mode.vdisplay, 32)
    report.check("card memory is zeroed", not any(ctypes.string_at(memory.address, memory.size)))
    report.check("its dma-buf has its size", os.lseek(memory.fd, 0, os.SEEK_END) == memory.size)
    draw(memory, mode, 50)
    geometry = Geometry(mode.hdisplay, mode.vdisplay, memory.pitch, 0, XR24)
    first, second = (card.import_framebuffer(memory.fd, geometry) for _ in range(2))
    first.close()
    shown = card.atomic()
    shown.add(screen.plane, {"FB_ID": second.id})
    shown.commit()
    memory.close()
    report.check(
        "card memory is shown, though closed", reader.value(screen.plane.id, "FB_ID") == second.id
    )
    hold(screen, 50)
    back = card.atomic()
    back.add(screen.plane, {"FB_ID": screen.framebuffers[0].id})
    back.commit()
    second.close()
    report.check("no dma-buf of it is left", dmabufs() == before, f"{before}, then {dmabufs()}")


def check_leaving_on_screen(screen: Screen, reader: Reader, report: Report) -> None:
    extra = screen.card.dumb_framebuffer(screen.mode.hdisplay, screen.mode.vdisplay, XR24)
    assert isinstance(extra, DumbFramebuffer)
    shown = screen.card.atomic()
    shown.add(screen.plane, {"FB_ID": extra.id})
    shown.commit()
    try:
        extra.leave_on_screen()
    except HostError as error:
        print(f"NOTE {error}", flush=True)
    left = reader.value(screen.plane.id, "FB_ID") == extra.id
    report.check("a framebuffer can be left on screen, or nothing happens", left)
    back = screen.card.atomic()
    back.add(screen.plane, {"FB_ID": screen.framebuffers[0].id})
    back.commit()
    extra.close()


def check_buffers_come_and_go(card: Card, report: Report) -> None:
    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count("/dev/dri")

    before = mappings()
    for _ in range(50):
        card.dumb_framebuffer(640, 480, XR24).close()
    report.check("50 framebuffers leave nothing mapped", mappings() == before)


@contextlib.contextmanager
def previous_program(path: str, seed: int) -> Generator[tuple[int, int], None, None]:
    """Another process shows a pattern, stays, and is not master: its pid and framebuffer id."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        card = Card(path)
        screens = light(card, seed, Report())
        load_drm().lib.drmDropMaster(card.fd)
        os.write(tell, str(screens[0].framebuffers[0].id).encode())
        time.sleep(3600)
    yield pid, int(os.read(ready, 20))
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def check_restore(path: str, reader: Reader, report: Report, hold: Hold) -> None:
    with previous_program(path, 100) as (pid, framebuffer):
        card = Card(path)
        screens = light(card, 200, report)
        plane, crtc = screens[0].plane, screens[0].crtc
        ours = reader.value(plane.id, "FB_ID")
        for screen in screens:
            screen.close()
        card.close()
        theirs = reader.value(plane.id, "FB_ID")
        report.check(
            "close puts back what was on screen",
            ours != framebuffer == theirs and reader.value(crtc.id, "ACTIVE") == 1,
            f"framebuffer {framebuffer}, then ours {ours}, then {theirs}",
        )
        hold(screens[0], 100)

        card = Card(path)
        screens = light(card, 200, report)
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        for screen in screens:
            screen.close()
        card.close()
        report.check(
            "close blanks when what was on screen is gone",
            reader.value(plane.id, "FB_ID") == 0 and reader.value(crtc.id, "ACTIVE") == 0,
        )


def check_unplug(path: str, report: Report) -> None:
    card = Card(path)
    screens = light(card, 1, report)
    screen = screens[0]
    device = Path(f"/sys/class/drm/{Path(path).name}/device").resolve()
    (device / "driver/unbind").write_text(device.name)
    result = screen.submit(1)
    report.check("unplugged: a flip says ENODEV", result == -errno.ENODEV, result)
    report.refused("unplugged: probe raises", card.probe, "device is gone")
    blank = card.atomic()
    blank.add(screen.plane, {"FB_ID": 0, "CRTC_ID": 0})
    report.refused("unplugged: a commit raises", lambda: blank.commit(allow_modeset=True), "gone")
    report.refused("unplugged: a test raises", lambda: blank.test(allow_modeset=True), "gone")
    report.refused(
        "unplugged: a new framebuffer raises", lambda: card.dumb_framebuffer(64, 64, XR24), "gone"
    )
    with contextlib.suppress(OSError):
        report.check("unplugged: events end", len(read_events(card.fd, 9, 0)) <= len(screens))
    try:
        for each in screens:
            each.close()
        card.close()
        report.check("unplugged: everything closes", True)
    except HostError as error:
        report.check("unplugged: everything closes", False, error)
    report.refused("unplugged: open raises", lambda: Card(path), "no display device")


def describe(card: Card) -> None:
    print(f"NOTE {card.path}: {card.driver}, import {card.can_import}")
    for connector in card.connectors:
        modes = " ".join(str(mode) for mode in connector.modes[:4])
        edid = f"EDID {len(connector.edid)} bytes" if connector.edid else "no EDID"
        print(f"NOTE {connector!r}: {len(connector.modes)} modes {modes}..., {edid}")
    for plane in card.planes:
        formats = " ".join(sorted(f.to_bytes(4, "little").decode() for f in plane.formats))
        print(f"NOTE plane {plane.id} {plane.type} zpos {plane.zpos}: {formats}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--hold", type=float, default=0)
    parser.add_argument("--unplug", action="store_true")
    parser.add_argument("--no-kms", action="store_true")
    options = parser.parse_args()
    report = Report()
    if options.no_kms:
        report.refused("a renderer is no card", lambda: Card(options.path), "no KMS")
        cards, errors = open_cards([])
        report.check("a renderer is passed over", not cards and "no KMS device" in str(errors[0]))
        return report.failed

    def hold(screen: Screen, seed: int) -> None:
        size = f"{screen.mode.hdisplay} {screen.mode.vdisplay}"
        print(f"HOLD {screen.connector.name} {size} {seed}", flush=True)
        time.sleep(options.hold)

    cards, errors = open_cards([options.path])
    report.check("open", len(cards) == 1 and not errors, *errors)
    if errors:
        return 1
    card = cards[0]
    describe(card)
    reader = Reader(card.path)
    screens = light(card, 1, report)
    report.check("some output is connected", bool(screens))
    for index, screen in enumerate(screens):
        check_state(screen, reader, report)
        check_flips(screen, report)
        hold(screen, 1 + index)
    check_refusals(card, screens[0], report)
    check_import(card, reader, screens[0], report)
    check_card_memory(screens[0], reader, report, hold)
    check_leaving_on_screen(screens[0], reader, report)
    check_buffers_come_and_go(card, report)
    for screen in screens:
        screen.close()
    card.close()
    check_restore(card.path, reader, report, hold)
    reader.device.close()
    if options.unplug:
        check_unplug(card.path, report)
    print(f"DONE {report.failed} failed", flush=True)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
