# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cards to open: ``/dev/dri/card0``, ``driver:rcar-du``, ``connector:HDMI-A-1``, or every card with KMS."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable

from xendisplback.errors import HostError
from xendisplback.kms.card import Card, NoKms
from xendisplback.kms.device import Device

DEVICES = "/dev/dri/card*"
SYSFS = "/sys/class/drm"


def open_cards(selectors: Iterable[str]) -> tuple[list[Card], list[HostError]]:
    """Fulfils :meth:`xendisplback.host.Host.open_cards`: what could be opened, and what could not. Blocking.

    With no selector, devices that only render are passed over; no card at all is an error.
    """
    chosen = list(selectors)
    paths: dict[str, None] = {}
    errors: list[HostError] = []
    for selector in chosen:
        try:
            paths.update(dict.fromkeys(resolve(selector)))
        except HostError as error:
            errors.append(error)
    if not chosen:
        paths = dict.fromkeys(card_paths())
    cards: list[Card] = []
    for path in paths:
        try:
            cards.append(Card(path))
        except NoKms as error:
            if chosen:
                errors.append(error)
        except HostError as error:
            errors.append(error)
    if not cards and not errors:
        errors.append(
            HostError(
                "no KMS device",
                path=DEVICES,
                hint="is the display driver loaded? 'xendisplback demo' shows the daemon without one",
            )
        )
    return cards, errors


def card_paths() -> list[str]:
    """Every card's device file, card2 before card10."""
    return sorted(glob.glob(DEVICES), key=lambda path: (len(path), path))


def resolve(selector: str) -> list[str]:
    """The device files that a selector names, at least one. Raises HostError."""
    if selector.startswith("/"):
        return [os.path.realpath(selector)]
    kind, _, name = selector.partition(":")
    if kind == "driver" and name:
        return _with_driver(name)
    if kind == "connector" and name:
        return _with_connector(name, SYSFS)
    raise HostError(
        f"card selector {selector!r} not understood",
        hint="write a path (/dev/dri/card0), driver:NAME or connector:NAME (connector:HDMI-A-1)",
    )


def _with_driver(name: str) -> list[str]:
    found: list[str] = []
    others: list[str] = []
    for path in card_paths():
        try:
            device = Device(path)
        except HostError as error:
            others.append(str(error))
            continue
        (found if device.driver == name else others).append(path)
        if device.driver != name:
            others[-1] = f"{path}: {device.driver}"
        device.close()
    if not found:
        there = "; ".join(others) or "no card at all"
        raise HostError(f"no card with driver {name!r}", path=DEVICES, hint=f"there is {there}")
    return found


def _with_connector(name: str, sysfs: str) -> list[str]:
    """sysfs names connectors ``card0-HDMI-A-1``."""
    names = [
        match.groups()
        for entry in sorted(os.listdir(sysfs) if os.path.isdir(sysfs) else [])
        if (match := re.fullmatch(r"(card\d+)-(.+)", entry))
    ]
    found = [f"/dev/dri/{card}" for card, connector in names if connector == name]
    if not found:
        there = ", ".join(f"{connector} on {card}" for card, connector in names) or "none"
        raise HostError(f"no connector {name!r}", path=sysfs, hint=f"connectors here: {there}")
    return found
