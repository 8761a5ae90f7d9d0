# SPDX-License-Identifier: GPL-2.0-or-later
"""Which device this is, where its nodes are, and how its log lines begin."""

from __future__ import annotations

import logging
import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

GUEST_LINES = 20
"""Log lines that one guest's faults may cause within ``GUEST_LINES_SECONDS``."""
GUEST_LINES_SECONDS = 60.0


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """One vdispl device, identified by its backend path alone: the frontend's nodes are the guest's."""

    backend_domid: int
    domid: int
    """The frontend's domain."""
    index: int

    @property
    def backend_path(self) -> str:
        return f"/local/domain/{self.backend_domid}/backend/vdispl/{self.domid}/{self.index}"

    @property
    def frontend_path(self) -> str:
        return f"/local/domain/{self.domid}/device/vdispl/{self.index}"

    def __str__(self) -> str:
        return f"dom {self.domid} vdispl {self.index}"


def escape(untrusted_text: str, limit: int = 64) -> str:
    """``untrusted_text`` for a log line: printable, quoted, at most about ``limit`` characters."""
    shown = ascii(untrusted_text[:limit])
    return shown + "…" if len(untrusted_text) > limit else shown


class GuestLog(logging.LoggerAdapter[logging.Logger]):
    """Log lines about one device (and connector), and a limit to those that its guest can cause."""

    def __init__(self, logger: logging.Logger, subject: str) -> None:
        super().__init__(logger)
        self._subject = subject
        self._window_end = 0.0
        self._lines = 0

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        return f"{self._subject}: {msg}", kwargs

    def guest_fault(self, message: str) -> None:
        """A warning that the guest can cause at will: after the limit, one line says that more is not shown."""
        now = time.monotonic()
        if now >= self._window_end:
            self._window_end, self._lines = now + GUEST_LINES_SECONDS, 0
        self._lines += 1
        if self._lines <= GUEST_LINES:
            self.warning("%s", message)
        elif self._lines == GUEST_LINES + 1:
            self.warning("more of this guest's faults are not logged for a minute")
