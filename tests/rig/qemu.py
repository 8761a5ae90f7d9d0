# SPDX-License-Identifier: GPL-2.0-or-later
"""The running machine: QEMU with Xen, dom0's disk as a snapshot, the agent's port, and its screens.

Every virtio device has ``iommu_platform=on``: dom0's "physical" addresses need not be the machine's, and
only with it does the driver use DMA addresses (without it the screen stays black).
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tests.rig.machines.kind import VIRTIO, Images, MachineKind
from tests.rig.vnc import set_monitor

FIRST_SIZE = (1280, 800)
START_SECONDS = 20.0


def command_line(
    kind: MachineKind, images: Images, directory: Path, *, interactive: bool
) -> list[str]:
    """Sockets and the console's log in ``directory``; ``interactive`` puts the console on the terminal."""
    console = "mon:stdio" if interactive else f"file:{directory / 'console.log'}"
    arguments = [
        *kind.hardware(images),
        *("-nodefaults", "-no-reboot"),
        *("-drive", f"file={images.disk},format=raw,if=none,id=d0,snapshot=on"),
        *("-device", f"virtio-blk-pci,drive=d0,{VIRTIO}"),
        *("-device", f"virtio-serial-pci,{VIRTIO}"),
        *("-chardev", f"socket,id=agent,path={directory / 'agent'},server=on,wait=off"),
        *("-device", "virtserialport,chardev=agent,name=xendisplback.rig"),
        *("-qmp", f"unix:{directory / 'qmp'},server=on,wait=off"),
        *("-serial", console),
    ]
    for number, screen in enumerate(kind.screens):
        # A VNC server for each: how a person sees it, and how a monitor is "plugged in".
        shows = f"display={screen.device},head={screen.head}"
        arguments += ["-vnc", f"unix:{directory / f'vnc{number}'},{shows}"]
    return arguments


class Machine:
    """A running QEMU. Leaving the context ends it."""

    def __init__(
        self, kind: MachineKind, images: Images, directory: Path, *, interactive: bool = False
    ) -> None:
        self.kind = kind
        self.directory = directory
        self._log: IO[bytes] = (directory / "qemu.log").open("wb")
        self._process = subprocess.Popen(
            command_line(kind, images, directory, interactive=interactive),
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=None if interactive else self._log,
            stderr=self._log,
        )
        self._qmp: Qmp | None = None

    def __enter__(self) -> Machine:
        self._qmp = Qmp(self._connect("qmp"))
        for number, screen in enumerate(self.kind.screens):
            if screen.plugged_by_vnc:
                self.plug(number)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._log.close()

    def wait(self) -> None:
        """Until QEMU ends by itself (a person left, or dom0 shut down)."""
        self._process.wait()

    def agent_socket(self) -> socket.socket:
        return self._connect("agent")

    def plug(self, number: int, size: tuple[int, int] = FIRST_SIZE) -> None:
        """The screen of that number, of those with ``plugged_by_vnc``, has a monitor that prefers ``size``."""
        set_monitor(self._connect(f"vnc{number}"), *size)

    def unplug(self, number: int) -> None:
        """That screen has no monitor any more."""
        set_monitor(self._connect(f"vnc{number}"), 0, 0)

    def screendump(self, number: int) -> bytes:
        """The screen's picture as a binary PPM."""
        assert self._qmp is not None
        path = self.directory / f"screen{number}.ppm"
        screen = self.kind.screens[number]
        self._qmp.execute("screendump", filename=str(path), device=screen.device, head=screen.head)
        return path.read_bytes()

    def check(self) -> None:
        """Raises: RuntimeError: QEMU has ended."""
        if self._process.poll() is not None:
            said = (self.directory / "qemu.log").read_text(errors="replace")
            raise RuntimeError(f"QEMU ended with {self._process.returncode}: {said}")

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(self.directory / name))
            except OSError:
                connection.close()
                self.check()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return connection


class Qmp:
    """QEMU's control protocol: one command at a time, events dropped."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(30)
        self._stream = connection.makefile("rwb")
        self._stream.readline()
        self.execute("qmp_capabilities")

    def execute(self, command: str, **arguments: str | int) -> Any:
        request = {"execute": command, "arguments": arguments}
        self._stream.write(json.dumps(request).encode() + b"\n")
        self._stream.flush()
        while line := self._stream.readline():
            reply = json.loads(line)
            if "error" in reply:
                raise RuntimeError(f"QMP {command}: {reply['error']}")
            if "return" in reply:
                return reply["return"]
        raise RuntimeError(f"QMP {command}: QEMU has closed the connection")
