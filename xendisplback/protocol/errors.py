# SPDX-License-Identifier: GPL-2.0-or-later
"""The two ways in which a guest can be wrong, and what each costs it."""

from __future__ import annotations

from xendisplback.errors import FrontendError
from xendisplback.protocol.status import Status


class RequestError(FrontendError):
    """One request is refused: it is answered with ``-status``, and nothing else happens."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status

    def __str__(self) -> str:
        return f"{self.args[0]} (-{self.status.name})"


class ProtocolViolation(FrontendError):
    """The connection can't be trusted any more: this frontend is closed, the others go on."""
