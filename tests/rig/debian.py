# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages by the machine's own apt configuration: its mirrors, its snapshot dates, its keys.

Only its Debian sources are used; they are told from others by their suite, which is named after the
release (``bookworm``, ``bookworm-security``). A machine with another release is asked for bookworm.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

RELEASE = "bookworm"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SOURCES = Path("/etc/apt")


def command(*arguments: str | Path, timeout: float, **options: str) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        SystemExit: it failed; the message carries the end of its output.
    """
    done = subprocess.run(
        [str(argument) for argument in arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env=environment(**options),
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise SystemExit(f"rig: {shlex.join(map(str, arguments))} failed:\n{tail}")
    return done.stdout


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8", **more}


def source_lines() -> list[str]:
    """The machine's Debian sources as one-line entries for :data:`RELEASE`."""
    return [
        f"deb [signed-by={KEYRING}] {uri} {RELEASE}{update} {components}"
        for uri, update, components in _sources()
    ]


def mirror() -> str:
    """Where the machine gets the release itself from; other suites are there too."""
    for uri, update, _ in _sources():
        if not update:
            return uri
    raise SystemExit(f"rig: no Debian source but for updates in {SOURCES}")


def apt_options() -> list[str]:
    """What the machine's apt was told about downloading (a snapshot's expired dates, a proxy)."""
    dump = command("apt-config", "dump", timeout=60).splitlines()
    return [line for line in dump if line.startswith(("Acquire::Check", "Acquire::http"))]


def versions(packages: list[str]) -> str:
    """The candidate version of each package, as text for a cache key."""
    policy = command("apt-cache", "policy", *packages, timeout=120).splitlines()
    return "\n".join(line for line in policy if not line.startswith(" ") or "Candidate:" in line)


def _sources() -> list[tuple[str, str, str]]:
    """(URI, "" or "-security" and the like, components) of the machine's own release."""
    here = _codename()
    found: list[tuple[str, str, str]] = []
    for path in [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]:
        if not path.is_file() or path.suffix not in (".list", ".sources"):
            continue
        entries = _deb822(path) if path.suffix == ".sources" else _one_line(path)
        for uri, suite, components in entries:
            if suite == here or suite.startswith(f"{here}-"):
                found.append((uri, suite.removeprefix(here), components))
    if not found:
        raise SystemExit(f"rig: no Debian source for {here} in {SOURCES}")
    return found


def _codename() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise SystemExit("rig: needs a Debian machine (no VERSION_CODENAME in /etc/os-release)")


def _one_line(path: Path) -> Iterator[tuple[str, str, str]]:
    for line in path.read_text().splitlines():
        words = line.partition("#")[0].split()
        if words[:1] != ["deb"]:
            continue
        words = words[1:]
        while words and words[0].startswith("["):
            while not words.pop(0).endswith("]"):
                pass
        yield words[0], words[1], " ".join(words[2:])


def _deb822(path: Path) -> Iterator[tuple[str, str, str]]:
    kept = "\n".join(li for li in path.read_text().splitlines() if not li.startswith("#"))
    for stanza in kept.split("\n\n"):
        fields: dict[str, str] = {}
        for line in stanza.splitlines():
            key, colon, value = line.partition(":")
            if colon and not line[:1].isspace():
                fields[key.lower()] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes") != "no":
            for uri in fields["uris"].split():
                for suite in fields["suites"].split():
                    yield uri, suite, fields.get("components", "")
