# SPDX-License-Identifier: GPL-2.0-or-later
"""The configuration file: TOML, every key optional, unknown keys refused by name.

``conf/xendisplback.toml`` documents the keys; tests hold it against :class:`Config`.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from xendisplback.errors import HostError

DEFAULT_PATH = Path("/etc/xendisplback/xendisplback.toml")


class ConfigError(HostError):
    """The configuration can't be used; the daemon exits with 78 (EX_CONFIG)."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    log_level: Literal["error", "warning", "info", "debug"] = "info"
    cards: list[str] = []
    """Which cards to use: a path, ``driver:NAME``, ``connector:NAME``; empty: every card with KMS."""
    refresh_rate: Annotated[float, msgspec.Meta(ge=0, le=240)] = 30.0
    """Hz at which a picture is copied again while its guest does not flip; 0: never."""


def load_config(path: Path | None) -> Config:
    """Read ``path``; None: the default file, or the defaults where there is none. Raises ConfigError."""
    if path is None:
        if not DEFAULT_PATH.exists():
            return Config()
        path = DEFAULT_PATH
    try:
        untyped = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            "the configuration can't be read", call="open", path=str(path), errno=error.errno
        ) from error
    except ValueError as error:
        raise ConfigError(f"not TOML: {error}", path=str(path)) from error
    _check_keys(untyped, path)
    try:
        return msgspec.convert(untyped, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error).replace("`$.", "`"), path=str(path)) from error


def _check_keys(untyped: dict[str, object], path: Path) -> None:
    known = [field.encode_name for field in msgspec.structs.fields(Config)]
    for key in untyped:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
            raise ConfigError(
                f"unknown key {key!r}",
                path=str(path),
                hint=f"the nearest known key is {near!r}; known are {', '.join(known)}",
            )
