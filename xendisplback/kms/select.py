# SPDX-License-Identifier: GPL-2.0-or-later
"""Which cards to open: those that selectors name, or all with KMS."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from xendisplback.errors import HostError
from xendisplback.host import NONE_KEPT, KeptCard
from xendisplback.kms.card import Card, NoKms
from xendisplback.kms.device import Device
from xendisplback.kms.selector import parse_selector

logger = logging.getLogger(__name__)

DEVICES = Path("/dev/dri")
SYSFS = Path("/sys/class/drm")


def open_cards(
    selectors: Iterable[str], held: Iterable[str] = (), kept: Mapping[str, KeptCard] = NONE_KEPT
) -> tuple[list[Card], list[HostError]]:
    """What could be opened, and what could not; paths ``held`` are open already. For the Host. Blocking.

    ``kept``: see :meth:`xendisplback.host.Host.open_cards`.

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
    passed = set(held)
    for path in paths:
        if path in passed:
            continue
        try:
            cards.append(_open(path, kept.get(path)))
        except NoKms as error:
            if chosen:
                errors.append(error)
        except HostError as error:
            errors.append(error)
    if not cards and not errors and not passed:
        errors.append(
            HostError(
                "no KMS device",
                path=str(DEVICES),
                hint="is the display driver loaded? 'xendisplback demo' needs none",
            )
        )
    return cards, errors


def _open(path: str, kept: KeptCard | None) -> Card:
    """Raises NoKms, HostError."""
    if kept is not None:
        try:
            if os.fstat(kept.fd).st_rdev == os.stat(path).st_rdev:
                return Card(path, os.dup(kept.fd), kept.before)
        except (HostError, OSError) as error:
            # Unplugged meanwhile, as a rule; what has its name now is another one.
            logger.warning("%s is not taken over from before: %s", path, error)
    return Card(path)


def card_paths() -> list[str]:
    """Every card's device file, card2 before card10."""
    paths = [str(path) for path in DEVICES.glob("card*")]
    return sorted(paths, key=lambda path: (len(path), path))


def resolve(selector: str) -> list[str]:
    """The device files that a selector names, at least one. Raises HostError."""
    kind, name = parse_selector(selector)
    if kind == "driver":
        return _with_driver(name)
    if kind == "connector":
        return _with_connector(name)
    return [os.path.realpath(name)]


def _with_driver(name: str) -> list[str]:
    found: list[str] = []
    others: list[str] = []
    for path in card_paths():
        try:
            device = Device(path)
        except HostError as error:
            others.append(str(error))
            continue
        if device.driver == name:
            found.append(path)
        else:
            others.append(f"{path}: {device.driver}")
        device.close()
    if not found:
        there = "; ".join(others) or "no card at all"
        raise HostError(
            f"no card with driver {name!r}", path=str(DEVICES), hint=f"there is {there}"
        )
    return found


def _with_connector(name: str) -> list[str]:
    """sysfs names connectors ``card0-HDMI-A-1``."""
    entries = sorted(entry.name for entry in SYSFS.glob("card*-*"))
    named = [entry.split("-", 1) for entry in entries]
    found = [f"/dev/dri/{card}" for card, connector in named if connector == name]
    if not found:
        there = ", ".join(f"{connector} on {card}" for card, connector in named) or "none"
        raise HostError(f"no connector {name!r}", path=str(SYSFS), hint=f"connectors here: {there}")
    return found
