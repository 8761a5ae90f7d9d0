# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of a suite that the machine doesn't follow, from its own mirror and without telling its apt.

apt gets a state directory of its own in the cache. Lists are fetched when there are none and before
something new is built of them, not at each run: an item that was built stays good.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.rig import debian
from tests.rig.cache import cache_directory
from tests.rig.debian import command


class Suite:
    def __init__(self, name: str) -> None:
        self._name = name
        self._directory = cache_directory() / f"apt-{name}"

    def version(self, package: str) -> str:
        """The candidate's, by the lists that are there.

        Raises:
            SystemExit: the suite has no such package.
        """
        found = self._candidate(package)
        if found is None:
            self.update()
            found = self._candidate(package)
        if found is None:
            raise SystemExit(f"rig: no package {package} in Debian's {self._name}")
        return found

    def update(self) -> None:
        for name in ("lists/partial", "archives/partial"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)
        source = f"deb [signed-by={debian.KEYRING}] {debian.mirror()} {self._name} main\n"
        (self._directory / "sources.list").write_text(source)
        command("apt-get", *self._options(), "--quiet", "update", timeout=600)

    def unpack(self, package: str, path: Path) -> None:
        """The package's files below ``path``."""
        path.mkdir(parents=True)
        download = f'cd "$0" && exec apt-get "$@" --quiet download {package}'
        command("sh", "-c", download, path, *self._options(), timeout=1800)
        (archive,) = path.glob("*.deb")
        command("dpkg-deb", "--extract", archive, path, timeout=600)
        archive.unlink()

    def _candidate(self, package: str) -> str | None:
        policy = command("apt-cache", *self._options(), "policy", package, timeout=120)
        found = re.search(r"Candidate: (\d\S*)", policy)
        return found[1] if found else None

    def _options(self) -> list[str]:
        settings = {
            "Dir::Etc::SourceList": self._directory / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::State::Lists": self._directory / "lists",
            "Dir::Cache::Archives": self._directory / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "APT::Sandbox::User": "root",
        }
        return [f"-o{key}={value}" for key, value in settings.items()]
