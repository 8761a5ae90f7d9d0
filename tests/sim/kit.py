# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine with one guest whose buffer a card can be given, without store, rings or daemon."""

from __future__ import annotations

from dataclasses import dataclass

from tests.commits import submit
from xendisplback.host import AtomicReq, Card, ExportKind, Framebuffer
from xendisplback.kms.geometry import Geometry
from xendisplback.protocol.formats import fourcc
from xendisplback.sim.card import SimCard
from xendisplback.sim.device import DisplayDevice
from xendisplback.sim.dmabuf import SimExport
from xendisplback.sim.guest_buffer import OwnBuffer
from xendisplback.sim.machine import MachineMemory, SimGrantTable
from xendisplback.sim.memory import GuestMemory

GUEST = 3
OUTPUT = "HDMI-A-1"
XR24 = fourcc("XR24")
SIZE = (640, 480)
PICTURE = Geometry(*SIZE, SIZE[0] * 4, 0, XR24)


@dataclass
class Bench:
    """What :meth:`buffer` allocates holds a different colour in each of its pages."""

    machine: MachineMemory
    memory: GuestMemory
    table: SimGrantTable
    device: DisplayDevice
    card: SimCard

    @classmethod
    def new(cls, device: DisplayDevice | None = None) -> Bench:
        machine = MachineMemory()
        machine.kernel.gntdev_dmabuf = True
        device = DisplayDevice() if device is None else device
        device.start()
        card = SimCard(device, machine.dmabufs)
        return cls(machine, machine.create(GUEST), SimGrantTable(machine, 0), device, card)

    def close(self) -> None:
        self.card.close()
        self.device.stop()

    def buffer(self, size: int = SIZE[0] * SIZE[1] * 4) -> OwnBuffer:
        buffer = OwnBuffer(self.memory, 0, 1, size)
        pages = (page.to_bytes(4, "little") * 1024 for page in range(len(buffer.refs)))
        buffer.pixels[:] = b"".join(pages)[:size]
        return buffer

    def export(self, buffer: OwnBuffer, kind: ExportKind = ExportKind.PLAIN) -> SimExport:
        return self.table.export(GUEST, buffer.refs, kind)

    def modeset(self, framebuffer: Framebuffer) -> AtomicReq:
        return modeset(self.card, framebuffer)

    def shown(self) -> bytes:
        """The screen's pixels."""
        screen = self.device.screen(OUTPUT)
        assert screen is not None
        return screen.pixels


def modeset(card: Card, framebuffer: Framebuffer, size: tuple[int, int] | None = None) -> AtomicReq:
    """Show ``framebuffer`` in the mode of its size, or in another one."""
    width, height = size or (framebuffer.width, framebuffer.height)
    mode = next(mode for mode in card.connectors[0].modes if mode.name == f"{width}x{height}")
    request = card.atomic()
    request.add(card.connectors[0], {"CRTC_ID": card.crtcs[0].id})
    request.add(card.crtcs[0], {"MODE_ID": card.mode_blob(mode).id, "ACTIVE": 1})
    request.add(
        card.planes[0],
        {
            "FB_ID": framebuffer.id,
            "CRTC_ID": card.crtcs[0].id,
            "CRTC_W": width,
            "CRTC_H": height,
            "SRC_W": width << 16,
            "SRC_H": height << 16,
        },
    )
    return request


def flip_to(card: Card, framebuffer: Framebuffer) -> int:
    request = card.atomic()
    request.add(card.planes[0], {"FB_ID": framebuffer.id})
    return submit(request.prepare_flip(card.crtcs[0]))
