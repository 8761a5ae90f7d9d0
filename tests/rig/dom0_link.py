# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's side of the agent in dom0 (dom0/agent.py): commands, files, questions to guests' programs."""

from __future__ import annotations

import base64
import json
import queue
import shlex
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

# What the way through QEMU and the agent's threads may take on top of a request's own deadline.
TRANSPORT_SECONDS = 30.0
BOOT_SECONDS = 240.0


class RigError(Exception):
    """What a scenario reports as its failure: something in dom0 or a guest isn't as it should be."""


@dataclass(frozen=True, slots=True)
class Ran:
    """``rc`` is negative for a signal; ``out`` and ``err`` are complete."""

    rc: int
    out: str
    err: str


class Dom0:
    """Requests may be made from several threads at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._number = 0
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        threading.Thread(target=self._receive, daemon=True).start()

    def wait_for_boot(self) -> float:
        """Until the agent answers; seconds it took. Questions to a port without a reader are lost or late."""
        started = time.monotonic()
        while time.monotonic() - started < BOOT_SECONDS:
            try:
                self._request(5.0, op="run", argv=["true"], timeout=5)
            except RigError:
                continue
            return time.monotonic() - started
        raise RigError(f"dom0's agent does not answer within {BOOT_SECONDS:g} s")

    def run(self, *argv: str, timeout: float = 60.0, check: bool = True) -> Ran:
        """Raises: RigError: past ``timeout`` (the command is killed), or ``check`` and not exit code 0."""
        reply = self._request(
            timeout + TRANSPORT_SECONDS, op="run", argv=list(argv), timeout=timeout
        )
        ran = Ran(reply["rc"], reply["out"], reply["err"])
        what = shlex.join(argv)
        if reply["timed_out"]:
            raise RigError(f"{what}: not done after {timeout:g} s; {ran.out}{ran.err}")
        if check and ran.rc != 0:
            raise RigError(f"{what}: exit code {ran.rc}: {(ran.err or ran.out).strip()}")
        return ran

    def shell(self, script: str, timeout: float = 60.0, *, check: bool = True) -> str:
        return self.run("sh", "-c", script, timeout=timeout, check=check).out

    def put(self, path: str, content: bytes) -> None:
        data = base64.b64encode(content).decode()
        self._request(TRANSPORT_SECONDS, op="put", path=path, data=data)

    def get(self, path: str) -> bytes:
        reply = self._request(TRANSPORT_SECONDS, op="get", path=path)
        return base64.b64decode(reply["data"])

    def ask(self, domid: int, line: str, timeout: float) -> tuple[str, list[str]]:
        """A line to the program on a guest's console; its answer, and the lines before it.

        Raises:
            RigError: no answer in time, or the answer is an error.
        """
        limit = timeout + TRANSPORT_SECONDS
        reply = self._request(limit, op="ask", domid=domid, line=line, timeout=timeout)
        if not reply["ok"]:
            raise RigError(f"domain {domid}: {line}: {reply['answer']}")
        return reply["answer"], reply["body"]

    def _request(self, limit: float, **request: Any) -> dict[str, Any]:
        answer: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with self._lock:
            self._number += 1
            number = self._number
            self._waiting[number] = answer
            self._connection.sendall(json.dumps({"id": number, **request}).encode() + b"\n")
        try:
            reply = answer.get(timeout=limit)
        except queue.Empty:
            raise RigError(f"dom0's agent did not answer {request['op']!r} in time") from None
        finally:
            del self._waiting[number]
        if "error" in reply:
            raise RigError(reply["error"])
        return reply

    def _receive(self) -> None:
        for line in self._connection.makefile("rb"):
            reply = json.loads(line)
            # A reply past its deadline has nobody who waits for it.
            if waiting := self._waiting.get(reply["id"]):
                waiting.put(reply)
