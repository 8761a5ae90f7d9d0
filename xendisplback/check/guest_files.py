# SPDX-License-Identifier: GPL-2.0-or-later
"""xl domain files: what will not work in them, each and all together."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from xendisplback.check.finding import Finding, Level, failure, warning
from xendisplback.check.vdispl import Connector, check_vdispl
from xendisplback.check.xl_file import Text, XlSyntaxError, parse_xl
from xendisplback.errors import HostError
from xendisplback.operator.client import ask

FORMAT = 1
"""Of ``--json``."""


def run_check(socket: str, files: Sequence[Path], *, as_json: bool) -> int:
    """0: nothing found that fails, 1: something, 2: a file can't be read."""
    found: list[tuple[Path, Finding]] = []
    connectors: list[tuple[Path, Connector]] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            print(f"xendisplback: {path}: {error.strerror}", file=sys.stderr)
            return 2
        findings, named = check_text(text)
        found += [(path, finding) for finding in findings]
        connectors += [(path, connector) for connector in named]
    found += held_twice(connectors)
    outputs = _outputs(socket)
    if outputs is not None:
        found += not_there(connectors, outputs)
    _print(found, outputs, as_json=as_json)
    return int(any(finding.level is Level.FAILURE for _, finding in found))


def check_text(text: str) -> tuple[list[Finding], list[Connector]]:
    """Of one domain."""
    try:
        setting = parse_xl(text).get("vdispl")
    except XlSyntaxError as error:
        return [failure("xl-syntax", str(error), "see xl.cfg(5)", error.line)], []
    if setting is None:
        return [
            warning("no-vdispl", "the domain has no virtual display", "add vdispl = [ '…' ]")
        ], []
    if isinstance(setting.value, Text):
        return [
            failure(
                "vdispl-no-list",
                "vdispl is a string: xl ignores it",
                "write vdispl = [ '…' ], with brackets",
                setting.line,
            )
        ], []
    findings: list[Finding] = []
    connectors: list[Connector] = []
    for item in setting.value:
        found, named = check_vdispl(item)
        findings += found
        connectors += named
    return findings, connectors


def held_twice(connectors: Sequence[tuple[Path, Connector]]) -> list[tuple[Path, Finding]]:
    """Places that two connectors name: the second guest that wants one is refused."""
    first: dict[str, tuple[Path, Connector]] = {}
    found: list[tuple[Path, Finding]] = []
    for path, connector in connectors:
        name = str(connector.place)
        if name not in first:
            first[name] = path, connector
            continue
        other, before = first[name]
        found.append(
            (
                path,
                warning(
                    "place-named-twice",
                    f"{name} is that of {other}:{before.line} too: who sets a mode first has it,"
                    " the other is refused (EBUSY)",
                    "name another output, or layers of it (OUTPUT/LAYER)",
                    connector.line,
                ),
            )
        )
    return found


def not_there(
    connectors: Sequence[tuple[Path, Connector]], outputs: Mapping[str, object]
) -> list[tuple[Path, Finding]]:
    """Places of which the running daemon knows no output or no layer."""
    return [
        (
            path,
            warning(
                "no-such-output",
                f"the daemon knows no {connector.place}; its outputs: {', '.join(outputs) or 'none'}",
                "the guest runs, and is shown when there is one",
                connector.line,
            ),
        )
        for path, connector in connectors
        if not _known(connector, outputs)
    ]


def _known(connector: Connector, outputs: Mapping[str, object]) -> bool:
    output = outputs.get(connector.place.output)
    if not isinstance(output, Mapping) or connector.place.layer is None:
        return isinstance(output, Mapping)
    layers = cast("list[dict[str, object]]", cast("Mapping[str, object]", output).get("layer", []))
    return any(layer.get("name") == connector.place.layer for layer in layers)


def _outputs(socket: str) -> Mapping[str, object] | None:
    """What a running daemon knows; None: none runs, or we may not ask it."""
    try:
        layout = cast("Mapping[str, object]", ask(socket, "layout")["layout"])
    except HostError:
        return None
    return cast("Mapping[str, object]", layout.get("output", {}))


def _print(
    found: Sequence[tuple[Path, Finding]], outputs: Mapping[str, object] | None, *, as_json: bool
) -> None:
    if as_json:
        findings = [
            {
                "file": str(path),
                "line": finding.line,
                "level": finding.level.value,
                "id": finding.id,
                "text": finding.text,
                "advice": finding.advice,
            }
            for path, finding in found
        ]
        print(json.dumps({"version": FORMAT, "daemon": outputs is not None, "findings": findings}))
        return
    for path, finding in found:
        line = f":{finding.line}" if finding.line is not None else ""
        text = f"{path}{line}: {finding.level.value}: {finding.text}; {finding.advice}"
        print("".join(char if char.isprintable() else "?" for char in text))
    if outputs is None:
        print("no daemon answers: whether the outputs are there is not known")
    if not found:
        print("nothing found")
