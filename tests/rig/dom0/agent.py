# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs in dom0: serves the host's requests over a virtio-serial port, one JSON object a line.

Requests are served at the same time, each in its thread, and answered by ``id``: ``run`` (a command with a
deadline), ``put`` and ``get`` (files), ``ask`` (a line to the program on a guest's console, and its answer).
A request that fails is answered with ``error``; the agent itself goes on.
"""

from __future__ import annotations

import base64
import json
import os
import re
import select
import signal
import subprocess
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

PORT = Path("/dev/virtio-ports/xendisplback.rig")
XENSTORE_READ = "/usr/bin/xenstore-read"


class Console:
    """The terminal that xenconsoled keeps for a guest. Opened once; what nobody asked for is dropped."""

    def __init__(self, terminal: str) -> None:
        self._fd = os.open(terminal, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._fd)
        self._lock = threading.Lock()
        self._number = 0
        self._unread = b""

    def ask(self, line: str, timeout: float) -> dict[str, Any]:
        """One question at a time: ``@N line`` is answered by ``| text`` lines and one ``@N OK ...``."""
        with self._lock:
            self._number += 1
            os.write(self._fd, f"@{self._number} {line}\n".encode())
            pattern = re.compile(rf"@{self._number} (OK|ERR) ?(.*)$")
            deadline = time.monotonic() + timeout
            said: list[str] = []
            while (answer := self._line(deadline)) is not None:
                if found := pattern.search(answer):
                    # Late answers to earlier questions and boot messages are not part of this one.
                    body = [text[2:] for text in said if text.startswith("| ")]
                    return {"ok": found[1] == "OK", "answer": found[2], "body": body}
                said.append(answer)
            tail = "\n".join(said[-20:])
            raise TimeoutError(
                f"no answer to {line!r} within {timeout:g} s; the console said:\n{tail}"
            )

    def _line(self, deadline: float) -> str | None:
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                return None
            self._unread += os.read(self._fd, 65536)
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace").strip()


class Agent:
    def __init__(self, port: int) -> None:
        self._port = port
        self._writing = threading.Lock()
        self._consoles: dict[str, Console] = {}
        self._opening = threading.Lock()

    def serve(self) -> None:
        pending = b""
        while True:
            select.select([self._port], [], [])
            data = os.read(self._port, 65536)
            if not data:  # nobody is connected on the host's side
                time.sleep(0.2)
                continue
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                threading.Thread(target=self._answer, args=(json.loads(line),), daemon=True).start()

    def _answer(self, request: dict[str, Any]) -> None:
        number = request.pop("id")
        handlers: dict[str, Callable[..., dict[str, Any]]] = {
            "run": run,
            "put": put,
            "get": get,
            "ask": self._ask,
        }
        try:
            reply = handlers[request.pop("op")](**request)
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        data = json.dumps({"id": number, **reply}).encode() + b"\n"
        with self._writing:
            while data:
                data = data[os.write(self._port, data) :]

    def _ask(self, domid: int, line: str, timeout: float) -> dict[str, Any]:
        with self._opening:
            node = f"/local/domain/{domid}/console/tty"
            terminal = subprocess.run(
                [XENSTORE_READ, node], capture_output=True, text=True, timeout=20, check=True
            ).stdout.strip()
            key = f"{domid} {terminal}"
            if key not in self._consoles:
                self._consoles[key] = Console(terminal)
        return self._consoles[key].ask(line, timeout)


def run(argv: list[str], timeout: float) -> dict[str, Any]:
    """The whole process group ends at the deadline, not only its leader."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    timed_out = False
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
    return {
        "rc": process.returncode,
        "out": out.decode(errors="replace"),
        "err": err.decode(errors="replace"),
        "timed_out": timed_out,
    }


def put(path: str, data: str) -> dict[str, Any]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(base64.b64decode(data))
    return {}


def get(path: str) -> dict[str, Any]:
    return {"data": base64.b64encode(Path(path).read_bytes()).decode()}


def main() -> None:
    while not PORT.exists():
        time.sleep(0.2)
    Agent(os.open(PORT, os.O_RDWR)).serve()


if __name__ == "__main__":
    main()
