# SPDX-License-Identifier: GPL-2.0-or-later
"""What xl makes of a ``vdispl`` item, and where that is not what it reads like.

xl (tools/xl/xl_parse.c) splits at commas, reads ``be-alloc`` with strtoul and a resolution with sscanf, and takes
what they leave: ``be-alloc=true`` is 0, ``@60`` is lost, ``axb`` is 0x0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from xendisplback.check.finding import Finding, failure, warning
from xendisplback.check.xl_file import Text
from xendisplback.scanout.layout import LayoutError, Place

MAX_CONNECTORS: Final = 4
MAX_WIDTH: Final = 4095
MAX_HEIGHT: Final = 2047
"""Of Linux's xen_drm_front."""

_KEYS: Final = ("backend", "be-alloc", "connectors")
_RESOLUTION: Final = re.compile(r"\s*([0-9]+)x\s*([0-9]+)(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Connector:
    place: Place
    line: int


def check_vdispl(item: Text) -> tuple[list[Finding], list[Connector]]:
    """Of one virtual display."""
    findings: list[Finding] = []
    connectors: list[Connector] = []
    values: dict[str, str] = {}
    # strtok() knows no empty ones.
    for token in filter(None, item.value.split(",")):
        key, equals, value = token.lstrip(" ").partition("=")
        if not equals or key not in _KEYS:
            findings.append(
                failure(
                    "vdispl-unknown-key",
                    f"xl refuses {token.strip()!r} in vdispl",
                    f"it is one of {', '.join(f'{each}=' for each in _KEYS)}",
                    item.line,
                )
            )
        else:
            values[key] = value
    findings += _be_alloc(values.get("be-alloc", "0"), item.line)
    specs = [spec for spec in values.get("connectors", "").split(";") if spec]
    if not specs:
        findings.append(
            failure(
                "vdispl-no-connector",
                "a virtual display without connectors",
                "add connectors=OUTPUT:WIDTHxHEIGHT",
                item.line,
            )
        )
    if len(specs) > MAX_CONNECTORS:
        findings.append(
            failure(
                "vdispl-too-many-connectors",
                f"{len(specs)} connectors in one virtual display; a Linux guest has {MAX_CONNECTORS} at most",
                "make a second virtual display of the others",
                item.line,
            )
        )
    for spec in specs:
        found, connector = _connector(spec, item.line)
        findings += found
        connectors += [connector] if connector is not None else []
    return findings, connectors


def _be_alloc(value: str, line: int) -> Iterator[Finding]:
    if value in ("0", "1"):
        return
    # Not 0 is 1; what begins with no number is 0.
    number = re.match(r"\s*[+-]?(?:0[xX](?=[0-9a-fA-F]))?0*[1-9a-fA-F]", value)
    is_number = re.match(r"\s*[+-]?[0-9]", value)
    yield failure(
        "vdispl-be-alloc",
        f"xl reads be-alloc={value} as {int(bool(number and is_number))}",
        "write be-alloc=0 (the guest's memory) or be-alloc=1 (this domain's)",
        line,
    )


def _connector(spec: str, line: int) -> tuple[list[Finding], Connector | None]:
    name, colon, resolution = spec.partition(":")
    findings: list[Finding] = []
    connector: Connector | None = None
    try:
        connector = Connector(Place.parse(name), line)
    except LayoutError as error:
        findings.append(failure("vdispl-output-name", str(error), "see: ls /sys/class/drm", line))
    if not colon:
        return [
            *findings,
            failure(
                "vdispl-no-resolution",
                f"connector {spec!r} has no resolution",
                "write OUTPUT:WIDTHxHEIGHT",
                line,
            ),
        ], connector
    findings += _resolution(spec, resolution, line)
    return findings, connector


def _resolution(spec: str, text: str, line: int) -> Iterator[Finding]:
    match = _RESOLUTION.match(text)
    if match is None:
        yield failure(
            "vdispl-resolution",
            f"connector {spec!r}: {text!r} is no resolution; xl may take it for 0x0",
            "write WIDTHxHEIGHT, for example 1920x1080",
            line,
        )
        return
    width, height = int(match[1]), int(match[2])
    if not (width and height):
        yield failure(
            "vdispl-resolution",
            f"connector {spec!r} is {width}x{height}: no guest can use that",
            "write a resolution of which neither side is 0",
            line,
        )
    elif width > MAX_WIDTH or height > MAX_HEIGHT:
        yield failure(
            "vdispl-too-large",
            f"connector {spec!r}: Linux's frontend allows {MAX_WIDTH}x{MAX_HEIGHT} at most",
            "write a smaller one; fit in [output] scales it up",
            line,
        )
    if match[3]:
        yield warning(
            "vdispl-ignored",
            f"connector {spec!r}: xl ignores {match[3]!r}",
            "leave it out; a refresh rate is refresh in [output] of xendisplback.toml",
            line,
        )
