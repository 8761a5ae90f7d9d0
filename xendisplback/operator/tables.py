# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon's ``status`` says, for people. It runs in the command, so it imports little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, cast

Words = Mapping[str, object]

PAGES_PER_MIB: Final = 256


def status_lines(status: Words) -> Iterator[str]:
    """Each device with its connectors, then the outputs. A guest with faults has a ``!`` before it."""
    return map(_printable, _status_lines(status))


def _status_lines(status: Words) -> Iterator[str]:
    guests = _words(status.get("guest"))
    frontends = _list(status.get("frontend"))
    if not frontends:
        yield "no vdispl device: nothing of this domain's backend/vdispl is in XenStore"
    for frontend in frontends:
        yield from _frontend_lines(frontend, guests)
    for name, output in _words(status.get("output")).items():
        yield from _output_lines(name, _words(output))


def list_lines(status: Words) -> Iterator[str]:
    """A line for each connector of a guest: who, where, what, and how it is shown."""
    guests = _words(status.get("guest"))
    rows = [
        _connector_row(connector, _words(guests.get(_text(connector.get("guest")))))
        for frontend in _list(status.get("frontend"))
        for connector in _list(frontend.get("connector"))
    ]
    rows += [
        [_device(frontend), "-", "not served", "", _states(frontend)]
        for frontend in _list(status.get("frontend"))
        if "connector" not in frontend
    ]
    return aligned([["GUEST", "PLACES", "STATE", "PICTURE", "HOW"], *rows])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, two spaces apart; the last one may be of any length."""
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield _printable("  ".join([*cells, row[-1]]).rstrip())


def _frontend_lines(frontend: Words, guests: Words) -> Iterator[str]:
    faults = frontend.get("faults")
    mark = "! " if faults else ""
    version = frontend.get("version")
    spoken = f", displif {version}" if version is not None else ""
    yield f"{mark}{_device(frontend)}: {_states(frontend)}{spoken}"
    if faults:
        yield f"    {faults} faults of the guest, see the log: journalctl -u xendisplback"
    for connector in _list(frontend.get("connector")):
        guest = _words(guests.get(_text(connector.get("guest"))))
        _, places, state, picture, how = _connector_row(connector, guest)
        pitch = f", pitch {connector['pitch']}" if connector.get("pitch") else ""
        yield f"    connector {connector.get('index')} on {places}: {state} {picture}{pitch}".rstrip()
        if how:
            yield f"        {how}"
        yield (
            f"        {guest.get('flips', 0)} flips, {connector.get('copies')} pictures copied,"
            f" stalled {guest.get('stalls', 0)} times"
        )
    buffers = _list(frontend.get("buffer"))
    if buffers:
        pages = sum(cast("int", buffer.get("pages", 0)) for buffer in buffers)
        owners = sorted({_text(buffer.get("memory")) for buffer in buffers})
        yield f"    {len(buffers)} buffers, {pages / PAGES_PER_MIB:.1f} MiB: {', '.join(owners)}"
    used = [
        f"{kind} {amount['used']} of {amount['limit']}{' pages' if kind == 'memory' else ''}"
        for kind, amount in ((k, _words(v)) for k, v in _words(frontend.get("budget")).items())
    ]
    if used:
        yield f"    budget: {', '.join(used)}"


def _output_lines(name: str, output: Words) -> Iterator[str]:
    card = output.get("card") or "no card"
    connected = "connected" if output.get("connected") else "not connected"
    showing = output.get("showing") or f"dark{_because(output.get('dark'))}"
    yield f"{name} ({card}): {connected}, {showing}"
    for layer in _list(output.get("layer")):
        if layer.get("guest"):
            yield f"    {layer.get('name')}: {layer['guest']}, {layer.get('state')}"


def _because(why: object) -> str:
    return f": {why}" if why else ""


def _connector_row(connector: Words, guest: Words) -> list[str]:
    size = f"{connector['width']}x{connector['height']}" if connector.get("width") else ""
    picture = f"{size} {connector.get('format') or ''}".strip()
    places = ", ".join(map(str, cast("list[object]", guest.get("places") or []))) or "none"
    name = _text(connector.get("guest"))
    return [name, places, _text(guest.get("state")), picture, _text(guest.get("how"))]


def _device(frontend: Words) -> str:
    name = frontend.get("domain") or "a domain without a name"
    return f"{name} (dom {frontend.get('domid')} vdispl {frontend.get('device')})"


def _states(frontend: Words) -> str:
    return f"{frontend.get('backend-state')} here, {frontend.get('frontend-state')} in the guest"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _words(value: object) -> Words:
    return cast("Words", value) if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Words]:
    return [_words(each) for each in cast("list[object]", value)] if isinstance(value, list) else []
