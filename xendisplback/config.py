# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration file: TOML, every key optional, unknown keys refused by name.

``conf/xendisplback.toml`` documents the keys; tests hold it against :class:`Config`. What only a file, or only a
mistake in it, needs is imported then: most daemons run without one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec

from xendisplback.errors import HostError
from xendisplback.host import Card
from xendisplback.kms.selector import parse_selector

DEFAULT_PATH = Path("/etc/xendisplback/xendisplback.toml")


class ConfigError(HostError):
    """The configuration can't be used; the daemon exits with 78 (EX_CONFIG)."""


class CardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[card."SELECTOR"]``."""

    zero_copy: Literal["auto", "never", "require"] = "auto"
    iommu: bool = False
    """An IOMMU maps our domain's physical addresses for this card; not to be seen from inside a Xen domain."""


class BackendAllocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """``[be-alloc]``: buffers that guests with be-alloc=1 let us allocate."""

    per_domain: Annotated[int, msgspec.Meta(ge=0)] = 0
    """MiB; 0: refused."""
    total: Annotated[int, msgspec.Meta(ge=0)] = 128
    """MiB."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    log_level: Literal["error", "warning", "info", "debug"] = "info"
    cards: list[str] = []
    """Which cards to use: a path, ``driver:NAME``, ``connector:NAME``; empty: every card with KMS."""
    refresh_rate: Annotated[float, msgspec.Meta(ge=0, le=240)] = 30.0
    """Hz at which a picture is copied again, if it has changed, while its guest does not flip; 0: never."""
    card: dict[str, CardSettings] = {}
    """By selector. A card takes the first one that names it."""
    be_alloc: BackendAllocation = BackendAllocation()

    def card_settings(self, card: Card) -> CardSettings:
        for selector, settings in self.card.items():
            if card.matches(selector):
                return settings
        return CardSettings()


def load_config(path: Path | None) -> Config:
    """Read ``path``; None: the default file, or the defaults where there is none. Raises ConfigError."""
    if path is None:
        if not DEFAULT_PATH.exists():
            return Config()
        path = DEFAULT_PATH
    import tomllib

    try:
        untyped = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            "the configuration can't be read", call="open", path=str(path), errno=error.errno
        ) from error
    except ValueError as error:
        raise ConfigError(f"not TOML: {error}", path=str(path)) from error
    _check_tables(untyped, path)
    try:
        return msgspec.convert(untyped, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("`$.", "`"), path=str(path)) from error


def _check_tables(untyped: dict[str, object], path: Path) -> None:
    _check_keys(Config, untyped, "", path)
    _check_keys(BackendAllocation, untyped.get("be-alloc"), " in [be-alloc]", path)
    cards = untyped.get("card")
    if isinstance(cards, dict):
        for selector, settings in cast("dict[str, object]", cards).items():
            try:
                parse_selector(selector)
            except HostError as error:
                raise ConfigError(error.message, path=str(path), hint=error.hint) from None
            _check_keys(CardSettings, settings, f' in [card."{selector}"]', path)


def _check_keys(table: type[msgspec.Struct], untyped: object, where: str, path: Path) -> None:
    """What is no table at all is left to msgspec."""
    known = [field.encode_name for field in msgspec.structs.fields(table)]
    for key in cast("dict[str, object]", untyped) if isinstance(untyped, dict) else ():
        if key not in known:
            import difflib

            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"unknown key {key!r}{where}",
                path=str(path),
                hint=f"the nearest known key is {near!r}; known are {', '.join(known)}",
            )
