# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel from Debian's sources, cross-built with our configuration, and modules for it.

Kept are the image and what modules are built against; the sources (2 GB when built) are not.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.rig.cache import cache_directory, cached, digest
from tests.rig.debian import command
from tests.rig.suite import Suite

# The kernel's own script for what its packages with headers hold. It would compile the build's programs
# for the other architecture if it were told of two compilers.
EXTRACT_BUILD_TREE = 'cd "$0" && exec sh scripts/package/install-extmod-build "$1"'


@dataclass(frozen=True, slots=True)
class Linux:
    """``package`` of ``suite`` holds the sources; ``config`` is what is set on top of allnoconfig."""

    package: str
    suite: str
    architecture: str
    compiler: str
    config: Path

    def build(self) -> Path:
        """A directory with ``Image`` and ``build``, the tree for modules."""
        suite = Suite(self.suite)
        kind = f"{self.architecture}-linux"
        parts = self._parts(suite)
        if not (cache_directory() / f"{kind}-{digest(parts)}").exists():
            suite.update()
            parts = self._parts(suite)
        what = f"{self.architecture}: Linux from {self.package} (10-15 min)"
        return cached(kind, parts, what, lambda path: self._build(suite, path))

    def module(self, linux: Path, source: Path) -> Path:
        """``linux`` is what :meth:`build` returned; ``source`` a directory of one out-of-tree module."""
        own = sorted(path for path in source.iterdir() if path.suffix in (".c", ".h", ""))
        own = [path for path in own if not path.name.startswith(".")]
        name = source.name

        def build(path: Path) -> None:
            work = path.with_suffix(".work")
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            for file in own:
                shutil.copy(file, work)
            self._make(linux / "build", f"M={work}", "modules", seconds=300)
            shutil.copy(work / f"{name}.ko", path)
            shutil.rmtree(work)

        kind = f"{self.architecture}-module-{name}"
        return cached(kind, [linux.name, *own], f"{self.architecture}: {name}.ko", build)

    def _parts(self, suite: Suite) -> list[str | Path]:
        version = suite.version(self.package)
        return [self.package, version, self.architecture, self.config, EXTRACT_BUILD_TREE]

    def _build(self, suite: Suite, path: Path) -> None:
        source = path / "source"
        suite.unpack(self.package, path / "package")
        source.mkdir()
        archive = path / "package" / "usr/src" / f"{self.package}.tar.xz"
        command("tar", "-C", source, "--strip-components=1", "-xf", archive, timeout=1200)
        shutil.rmtree(path / "package")
        self._make(source, "allnoconfig", f"KCONFIG_ALLCONFIG={self.config}", seconds=300)
        self._check_configuration(source / ".config")
        self._make(source, "Image", "modules", seconds=7200)
        shutil.copy(source / "arch" / self.architecture / "boot/Image", path)
        command(
            *("sh", "-c", EXTRACT_BUILD_TREE, source, path / "build"),
            timeout=300,
            srctree=".",
            SRCARCH=self.architecture,
            CC="gcc",
            HOSTCC="gcc",
        )
        shutil.rmtree(source)

    def _check_configuration(self, config: Path) -> None:
        """An option that depends on an unset one is dropped without a word."""
        set_here = re.compile(r"^CONFIG_\w+=(?!n$).+$", re.MULTILINE)
        wanted = set_here.findall(self.config.read_text())
        if missing := set(wanted) - set(config.read_text().splitlines()):
            raise SystemExit(f"rig: the kernel's configuration lacks {' '.join(sorted(missing))}")

    def _make(self, directory: Path, *targets: str, seconds: float) -> None:
        jobs = f"-j{os.cpu_count()}"
        cross = {"ARCH": self.architecture, "CROSS_COMPILE": self.compiler}
        command("make", "-s", jobs, "-C", directory, *targets, timeout=seconds, **cross)
