# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs Debian's unmodified C xenstored without Xen.

The packages are fetched by apt, unpacked (not installed) into $XENDISPLBACK_CACHE, by version, and
run with fakexen.c preloaded, which needs gcc.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

XEN_VERSIONS = ("4.17", "4.20")
"""Debian 12's and 13's."""
PACKAGES = (
    "xen-utils-{xen}",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenmisc{xen}",
    "libxentoolcore1",
    "libxentoollog1",
)
SHIM_SOURCE = Path(__file__).with_name("fakexen.c")
PAGE_SIZE = 4096
VIRQ_PORT = 1
FIRST_PORT = 1000
"""As in fakexen.c."""

_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Xenstored:
    """One running xenstored. ``directory`` is what fakexen.c calls $FAKEXEN."""

    directory: Path
    process: subprocess.Popen[bytes]

    @property
    def socket_path(self) -> str:
        return str(self.directory / "socket")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def add_domain(self, domid: int) -> None:
        """What a domain is made of, before a toolstack introduces it."""
        os.mkfifo(self._file(domid, "event"))
        _make_page(self._file(domid, "ring"))

    def end_domain(self, domid: int) -> None:
        """The domain dies, and Xen tells."""
        self._file(domid, "ring").unlink()
        self._file(domid, "event").unlink()
        self.raise_event(VIRQ_PORT)

    def ring_of(self, domid: int) -> Path:
        return self._file(domid, "ring")

    def event_fifo_of(self, domid: int) -> Path:
        return self._file(domid, "event")

    def kick_from(self, domid: int) -> None:
        self.raise_event(FIRST_PORT + domid)

    def raise_event(self, port: int) -> None:
        with (self.directory / "event").open("wb", buffering=0) as fifo:
            fifo.write(struct.pack("=I", port))

    def _file(self, domid: int, suffix: str) -> Path:
        return self.directory / f"dom{domid}.{suffix}"


@contextmanager
def run_xenstored(root: Path, shim: Path) -> Generator[Xenstored]:
    """A fresh store. ``root`` is :func:`fetch_packages`'s, ``shim`` :func:`build_shim`'s."""
    # Short: a socket's path has at most 107 bytes, and pytest's directories can be longer.
    with tempfile.TemporaryDirectory(prefix="xs-") as name:
        directory = Path(name)
        _make_page(directory / "dom0.ring")
        (directory / "xsd_port").write_text("1")
        os.mkfifo(directory / "event")
        environment = {
            "FAKEXEN": name,
            "XENSTORED_RUNDIR": name,
            "LD_LIBRARY_PATH": str(next(root.glob("usr/lib/*/libxenctrl.so.*")).parent),
            "LD_PRELOAD": str(shim),
        }
        program = next(root.glob("usr/lib/xen-*/bin/xenstored"))
        with subprocess.Popen(
            [program, "--no-fork", "--pid-file", directory / "pid"], env=environment
        ) as process:
            try:
                _wait_until_it_answers(process, directory / "socket")
                yield Xenstored(directory, process)
            finally:
                process.kill()


def fetch_packages() -> Path:
    """The directory into which the packages are unpacked."""
    try:
        return _fetch_offered()
    except (LookupError, subprocess.CalledProcessError):
        # apt has no lists, or old ones: they name versions that the archive has dropped since.
        subprocess.run(["apt-get", "--quiet=2", "update"], check=True)
        return _fetch_offered()


def _fetch_offered() -> Path:
    xen, version = _offered_xen()
    target = _cache() / f"xenstored-{version}"
    if target.exists():
        return target
    packages = [package.format(xen=xen) for package in PACKAGES]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        work = Path(name)
        subprocess.run(["apt-get", "--quiet=2", "download", *packages], cwd=work, check=True)
        for package in work.glob("*.deb"):
            subprocess.run(["dpkg", "--extract", package, work / "root"], check=True)
        _publish(work / "root", target)
    return target


def build_shim() -> Path:
    digest = hashlib.sha256(SHIM_SOURCE.read_bytes()).hexdigest()[:16]
    target = _cache() / f"fakexen-{digest}.so"
    if target.exists():
        return target
    if shutil.which("gcc") is None:
        raise RuntimeError("the XenStore tests need gcc")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        built = Path(name) / target.name
        warnings = ["-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror"]
        subprocess.run(["gcc", *warnings, "-shared", "-fPIC", "-o", built, SHIM_SOURCE], check=True)
        _publish(built, target)
    return target


def _cache() -> Path:
    return Path(os.environ.get("XENDISPLBACK_CACHE") or Path.home() / ".cache" / "xendisplback")


def _offered_xen() -> tuple[str, str]:
    """Xen's version and its packages' that apt offers.

    Raises:
        LookupError: apt offers none that fakexen.c knows, or has no lists.
    """
    for xen in XEN_VERSIONS:
        version = _candidate_version(f"xen-utils-{xen}")
        if version is not None:
            return xen, version
    raise LookupError(f"apt offers no xen-utils of Xen {' or '.join(XEN_VERSIONS)}")


def _candidate_version(package: str) -> str | None:
    policy = subprocess.run(
        ["apt-cache", "policy", package],
        env={**os.environ, "LC_ALL": "C"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for line in policy.splitlines():
        if line.strip().startswith("Candidate:"):
            version = line.split()[1]
            return None if version == "(none)" else version
    return None


def _publish(built: Path, target: Path) -> None:
    """Two test runs at once may build the same: the first wins."""
    try:
        built.rename(target)
    except OSError:
        if not target.exists():
            raise


def _make_page(path: Path) -> None:
    path.write_bytes(bytes(PAGE_SIZE))


def _wait_until_it_answers(process: subprocess.Popen[bytes], path: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except OSError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"xenstored does not answer: {error}") from error
            else:
                return
        time.sleep(0.005)
