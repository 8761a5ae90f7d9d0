# SPDX-License-Identifier: GPL-2.0-or-later
"""What :func:`xendisplback.scanout.report.describe` says, as TOML in the words of the configuration file.

``xendisplback layout`` prints it, and it can be a configuration file again: what runs is in comments. It runs
in the command, so it imports little.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

Words = Mapping[str, object]
"""Names to what JSON can say; None: not configured."""

_OUTPUT_KEYS: Final = ("mode", "refresh", "fit", "safe", "stalled-after", "edid")
_LAYER_KEYS: Final = ("name", "zpos", "x", "y", "width", "height", "fit")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(words: Words) -> str:
    """The configuration that says the same, with what else ``words`` tells (the state) as comments."""
    lines: list[str] = []
    for name, output in _table(words.get("output")).items():
        lines += _output_lines(name, _table(output))
    if routes := _table(words.get("route")):
        lines += ["[route]", *(f"{_key(guest)} = {_value(to)}" for guest, to in routes.items())]
        lines += [""]
    lines += _guest_lines(_table(words.get("guest")))
    return "\n".join(lines).rstrip("\n") + "\n"


def _output_lines(name: str, output: Words) -> Iterator[str]:
    yield f"[output.{_key(name)}]"
    if "connected" in output:
        connected = "connected" if output["connected"] else "not connected"
        dark = f"dark: {output['dark']}" if output.get("dark") else "dark"
        yield _comment(connected, output.get("card"), output.get("showing") or dark)
    yield from _key_lines(_OUTPUT_KEYS, output)
    for untyped in cast("list[object]", output.get("layer") or []):
        layer = _table(untyped)
        if output.get("layers-configured"):
            yield f"[[output.{_key(name)}.layer]]"
            yield from _state_lines(layer)
            yield from _key_lines(_LAYER_KEYS, layer)
        else:
            yield from _state_lines(layer)
    yield ""


def _state_lines(layer: Words) -> Iterator[str]:
    if "state" in layer:
        yield _comment(layer.get("guest"), layer["state"], layer.get("how"))


def _guest_lines(guests: Words) -> Iterator[str]:
    """Where each guest is, also those that the layout does not name."""
    for name, untyped in guests.items():
        guest = _table(untyped)
        places = cast("list[object]", guest.get("places") or ["none"])
        yield _comment(
            f"guest {name} at {', '.join(map(str, places))}", guest.get("state"), guest.get("how")
        )


def _key_lines(keys: tuple[str, ...], table: Words) -> Iterator[str]:
    for key in keys:
        if table.get(key) is not None:
            yield f"{key} = {_value(table[key])}"


def _comment(*parts: object) -> str:
    """Without control characters: a line break in it would be read as configuration."""
    text = ", ".join(str(part) for part in parts if part)
    return "# " + "".join(char if char.isprintable() else "?" for char in text)


def _value(value: object) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast('list[object]', value)))}]"
    return repr(value).removesuffix(".0")


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _text(text)


def _text(text: str) -> str:
    """A TOML string, which is JSON's but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _table(value: object) -> Words:
    return cast("Words", value) if isinstance(value, Mapping) else {}
