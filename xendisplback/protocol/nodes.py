# SPDX-License-Identifier: GPL-2.0-or-later
"""The values of a device's XenStore nodes, parsed strictly: xl's parser and guests write anything."""

from __future__ import annotations

import re
from typing import Final

from xendisplback.errors import FrontendError
from xendisplback.protocol.layout import MAX_SIDE
from xendisplback.protocol.xenbus import XenbusState

_RESOLUTION = re.compile(r"([0-9]{1,9})x([0-9]{1,9})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_UNIQUE_ID = re.compile(r"[!-~]{1,64}", re.ASCII)
VERSIONS: Final = (1, 2)
"""The displif versions that we speak."""
_SHOWN = 40


class NodeError(FrontendError):
    """A node's value can't be used. ``value`` None: the node is missing."""

    def __init__(self, path: str, value: str | None, expected: str) -> None:
        if value is None:
            found = "missing"
        else:
            found = ascii(value[:_SHOWN]) + ("…" if len(value) > _SHOWN else "")
        super().__init__(f"{path} is {found}; expected is {expected}")


def is_domain_name(untrusted_value: str) -> bool:
    """Whether a domain's ``name`` can be used as one: printable, without ``/``, of a length that libxl allows."""
    return (
        0 < len(untrusted_value) < 256
        and untrusted_value.isprintable()
        and "/" not in untrusted_value
    )


def parse_state(untrusted_value: str | None) -> XenbusState | None:
    """A frontend's ``state``; a missing node is Unknown, garbage is None."""
    if untrusted_value is None:
        return XenbusState.Unknown
    if len(untrusted_value) == 1 and untrusted_value in "012345678":
        return XenbusState(int(untrusted_value))
    return None


def parse_resolution(path: str, untrusted_value: str | None) -> tuple[int, int]:
    """``800x600`` as width and height. Raises NodeError."""
    match = _RESOLUTION.fullmatch(untrusted_value or "")
    if match is not None:
        width, height = int(match[1]), int(match[2])
        if 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE:
            return width, height
    raise NodeError(path, untrusted_value, f"WIDTHxHEIGHT, each from 1 to {MAX_SIDE}")


def parse_number(path: str, untrusted_value: str | None) -> int:
    """A grant reference or an event channel port: a decimal u32 that is not 0. Raises NodeError."""
    if _NUMBER.fullmatch(untrusted_value or "") and 0 < int(untrusted_value or "") < 1 << 32:
        return int(untrusted_value or "")
    raise NodeError(path, untrusted_value, "a number from 1 to 4294967295")


def parse_unique_id(path: str, untrusted_value: str | None) -> str:
    """The output's name: 1 to 64 printable ASCII characters without spaces. Raises NodeError."""
    if untrusted_value is not None and _UNIQUE_ID.fullmatch(untrusted_value):
        return untrusted_value
    raise NodeError(path, untrusted_value, "an output's name such as HDMI-A-1")


def parse_version(path: str, untrusted_value: str | None) -> int:
    """The version that the frontend chose; Linux writes none, which means 1. Raises NodeError."""
    if untrusted_value is None:
        return 1
    for version in VERSIONS:
        if untrusted_value == str(version):
            return version
    raise NodeError(path, untrusted_value, "one of 1, 2")
