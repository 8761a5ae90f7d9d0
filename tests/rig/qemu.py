# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine: QEMU with Xen, dom0's disk as a snapshot, a virtio-gpu with two heads, the agent's port.

Every virtio device has ``iommu_platform=on``: a PV dom0's "physical" addresses are not the machine's, and
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

from tests.rig.dom0_root import Images
from tests.rig.vnc import connect_monitor

HEADS = 2
FIRST_SIZE = (1280, 800)
START_SECONDS = 20.0


def command_line(images: Images, directory: Path, *, interactive: bool) -> list[str]:
    """Sockets and the console's log in ``directory``; ``interactive`` puts the console on the terminal."""
    xen = "console=com1 com1=115200,8n1 dom0_mem=1280M dom0_max_vcpus=2 noreboot loglvl=info guest_loglvl=info"
    linux = "console=hvc0 root=/dev/vda rw quiet systemd.show_status=0 net.ifnames=0"
    virtio = "disable-legacy=on,iommu_platform=on"
    console = "mon:stdio" if interactive else f"file:{directory / 'console.log'}"
    arguments = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2560"),
        # With SMAP dom0 crashes under TCG; with XSAVE (AVX) its programs now and then do ("corrupted
        # double-linked list" in xl, jumps to nowhere in systemctl).
        *("-cpu", "max,-smap,-smep,-pcid,-xsave,-avx,-avx2", "-nodefaults", "-no-reboot"),
        *("-kernel", str(images.xen), "-append", xen),
        *("-initrd", f"{images.kernel} {linux},{images.initrd}"),
        *("-drive", f"file={images.disk},format=raw,if=none,id=d0,snapshot=on"),
        *("-device", f"virtio-blk-pci,drive=d0,{virtio}"),
        *("-device", f"virtio-gpu-pci,id=gpu,max_outputs={HEADS},{virtio}"),
        *("-device", f"virtio-serial-pci,{virtio}"),
        *("-chardev", f"socket,id=agent,path={directory / 'agent'},server=on,wait=off"),
        *("-device", "virtserialport,chardev=agent,name=xendisplback.rig"),
        *("-qmp", f"unix:{directory / 'qmp'},server=on,wait=off"),
        *("-serial", console),
    ]
    for head in range(HEADS):
        # A VNC server for each head: how a person sees it, and how the monitor is "plugged in".
        arguments += ["-vnc", f"unix:{directory / f'vnc{head}'},display=gpu,head={head}"]
    return arguments


class Machine:
    """A running QEMU. Leaving the context ends it."""

    def __init__(self, images: Images, directory: Path, *, interactive: bool = False) -> None:
        self.directory = directory
        self._log: IO[bytes] = (directory / "qemu.log").open("wb")
        self._process = subprocess.Popen(
            command_line(images, directory, interactive=interactive),
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=None if interactive else self._log,
            stderr=self._log,
        )
        self._qmp: Qmp | None = None

    def __enter__(self) -> Machine:
        self._qmp = Qmp(self._connect("qmp"))
        for head in range(HEADS):
            connect_monitor(self._connect(f"vnc{head}"), *FIRST_SIZE)
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

    def screendump(self, head: int) -> bytes:
        """The head's picture as a binary PPM."""
        assert self._qmp is not None
        path = self.directory / f"head{head}.ppm"
        self._qmp.execute("screendump", filename=str(path), device="gpu", head=head)
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
