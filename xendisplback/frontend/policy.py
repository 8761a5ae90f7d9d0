# SPDX-License-Identifier: GPL-2.0-or-later
"""Which domain may do what: the ``[allow]`` tables of the configuration.

Without one, every domain may use what its toolstack configured and nobody else holds. With any, a domain that none
names is refused. It is known by its name, ``uuid:UUID`` or ``domid:N``: what the toolstack wrote, no guest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xendisplback.config import AllowSettings
from xendisplback.errors import FrontendError
from xendisplback.scanout.permission import ANYTHING, Permission


@dataclass(frozen=True, slots=True)
class Identity:
    domid: int
    name: str | None
    uuid: str | None

    @property
    def keys(self) -> list[str]:
        """How a table may name it, the most particular first."""
        keys = [f"domid:{self.domid}"]
        if self.uuid is not None:
            keys.append(f"uuid:{self.uuid}")
        if self.name is not None:
            keys.append(self.name)
        return keys


class NotAllowed(FrontendError):
    """The operator's configuration does not name this domain."""


class Policy:
    def __init__(self, allowed: Mapping[str, AllowSettings] | None) -> None:
        self._allowed = allowed

    def permission(self, domain: Identity) -> Permission:
        """Raises NotAllowed."""
        if self._allowed is None:
            return ANYTHING
        for key in domain.keys:
            settings = self._allowed.get(key)
            if settings is not None:
                outputs = settings.outputs
                return Permission(
                    f'[allow."{key}"]',
                    None if outputs is None else frozenset(outputs),
                    settings.zero_copy,
                    settings.be_alloc,
                )
        raise NotAllowed(
            f"no [allow] table of xendisplback.toml names this domain: {' or '.join(domain.keys)}"
        )
