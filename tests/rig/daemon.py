# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon in dom0: its unit, its log, and what it costs."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from tests.rig.dom0_link import Dom0, RigError

UNIT = "xendisplback"
CONFIGURATION = "/etc/xendisplback/xendisplback.toml"
STRACE_ROW = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d*\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.MULTILINE)


class Daemon:
    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0
        self._shipped: bytes | None = None
        """The configuration file as it was installed."""

    def state(self) -> str:
        """systemd's word: "active", "inactive", "failed"."""
        return self._dom0.run("systemctl", "is-active", UNIT, check=False).out.strip()

    def start(self) -> None:
        """Returns when the daemon has said READY. Raises: RigError: it didn't."""
        self._dom0.run("systemctl", "start", UNIT, timeout=100)

    def stop(self) -> None:
        """Raises: RigError: it was killed or its exit code was not 0."""
        self._dom0.run("systemctl", "stop", UNIT, timeout=100)
        result = self._dom0.run("systemctl", "show", "--value", "-p", "Result", UNIT).out.strip()
        if result != "success":
            raise RigError(f"the daemon's end: {result}")

    @contextmanager
    def configured(self, toml: str) -> Generator[None]:
        """Started anew with ``toml`` added to the shipped configuration; afterwards stopped, and as it was."""
        self._write(toml)
        try:
            self.restart()
            yield
        except BaseException:
            # The next scenario starts one that knows nothing of ``toml``.
            self._dom0.run("systemctl", "stop", UNIT, timeout=100, check=False)
            raise
        else:
            self.stop()
        finally:
            self._write("")

    def reload(self, toml: str) -> str:
        """``systemctl reload`` with ``toml`` in place of what :meth:`configured` added; the log of it."""
        since = len(self.log())
        self._write(toml)
        self._dom0.run("systemctl", "reload", UNIT)
        return self.wait_for_log("SIGHUP", since=since)

    def _write(self, toml: str) -> None:
        if self._shipped is None:
            self._shipped = self._dom0.get(CONFIGURATION)
        self._dom0.put(CONFIGURATION, self._shipped + b"\n" + toml.encode())

    def restart(self) -> None:
        """Returns when the new one has said READY. Raises: RigError: it didn't."""
        self._dom0.run("systemctl", "restart", UNIT, timeout=100)

    def pid(self) -> int:
        pid = int(self._dom0.run("systemctl", "show", "--value", "-p", "MainPID", UNIT).out)
        if pid == 0:
            raise RigError("the daemon does not run")
        return pid

    def kept_files(self) -> int:
        """How many systemd holds for the next process."""
        show = ("systemctl", "show", "--value", "-p", "NFileDescriptorStore", UNIT)
        return int(self._dom0.run(*show).out)

    def log(self) -> list[str]:
        """All that it has written since dom0 started."""
        return self._dom0.run(
            "journalctl", "--no-pager", "--output=cat", f"--unit={UNIT}", timeout=60
        ).out.splitlines()

    def wait_for_log(self, text: str, *, since: int = 0, seconds: float = 15.0) -> str:
        """The first line with ``text`` after line number ``since``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in self.log()[since:]:
                if text in line:
                    return line
            time.sleep(0.5)
        raise RigError(f"not in the daemon's log within {seconds:g} s: {text!r}")

    def route(self, *routes: str) -> None:
        """``xendisplback route``. Raises: RigError: it was refused."""
        self._dom0.run("xendisplback", "route", *routes)

    def refused_route(self, *routes: str) -> str:
        """Why not. Raises: RigError: it was done."""
        ran = self._dom0.run("xendisplback", "route", *routes, check=False)
        if ran.rc == 0:
            raise RigError(f"a route was accepted: {' '.join(routes)}")
        return ran.err.strip()

    def layout(self) -> str:
        """What ``xendisplback layout`` prints."""
        return self._dom0.run("xendisplback", "layout").out

    def listed(self) -> list[str]:
        """What ``xendisplback list`` prints, without the heads of its columns."""
        return self._dom0.run("xendisplback", "list").out.splitlines()[1:]

    def wait_until_closed(self, card: str, seconds: float = 5.0) -> None:
        """Until it holds no file of the card (``card1``), not even by a mapping.

        Raises: RigError: it still does. The kernel gives its numbers to another card only then.
        """
        deadline = time.monotonic() + seconds
        script = f"cd /proc/{self.pid()}; ls -l fd | grep dri/{card}; grep dri/{card} maps"
        while held := self._dom0.shell(script, check=False):
            if time.monotonic() > deadline:
                raise RigError(f"files of {card} are still held: {held}")
            time.sleep(0.2)

    def resident_kib(self) -> int:
        status = self._dom0.get(f"/proc/{self.pid()}/status").decode()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1])

    def cpu_milliseconds(self) -> int:
        """CPU time of all its threads, in steps of 10 ms (USER_HZ is 100 on both machines)."""
        # Behind the name, which may hold anything: state is the first field, utime and stime the 12th and 13th.
        fields = self._dom0.get(f"/proc/{self.pid()}/stat").decode().rpartition(")")[2].split()
        return 10 * (int(fields[11]) + int(fields[12]))


class SystemCalls:
    """Counts the daemon's system calls, all threads, from the start of the context to its end."""

    OUTPUT = "/tmp/strace"

    def __init__(self, dom0: Dom0, pid: int) -> None:
        self.counts: dict[str, int] = {}
        self._dom0 = dom0
        self._pid = pid
        self._thread = threading.Thread(target=self._trace, daemon=True)

    def __enter__(self) -> SystemCalls:
        self._dom0.run("rm", "-f", self.OUTPUT)
        self._thread.start()
        deadline = time.monotonic() + 30
        while "TracerPid:\t0" in self._dom0.get(f"/proc/{self._pid}/status").decode():
            if time.monotonic() > deadline:
                raise RigError("strace did not attach")
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        # By its id: strace detaches at SIGINT and writes its table.
        self._dom0.shell(f"kill -INT $(sed -n 's/^TracerPid:.//p' /proc/{self._pid}/status)")
        self._thread.join(30)
        table = self._dom0.get(self.OUTPUT).decode()
        self.counts = {name: int(count) for count, name in STRACE_ROW.findall(table)}
        if self.counts.pop("total", None) != sum(self.counts.values()):
            raise RigError(f"not strace's table: {table!r}")

    def _trace(self) -> None:
        # What strace itself returns after SIGINT does not matter; its table does.
        self._dom0.run(
            *("strace", "-f", "-c", "-o", self.OUTPUT, "-p", str(self._pid)),
            timeout=150,
            check=False,
        )
