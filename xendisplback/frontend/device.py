# SPDX-License-Identifier: GPL-2.0-or-later
"""Which device this is, where its nodes are, and how its log lines begin."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

GUEST_LINES = 20
"""Log lines of one kind that one guest may cause within ``GUEST_LINES_SECONDS``."""
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


class GuestLines:
    """How many lines of which kind a device's guest has caused, over all of its connections."""

    def __init__(self) -> None:
        self.faults = 0
        """What the guest did and should not have done; also what is not logged any more."""
        self._window_end = 0.0
        self._counts: Counter[tuple[str, object]] = Counter()

    def count(self, subject: str, kind: object) -> int:
        """Of one kind about ``subject``, this one included."""
        now = time.monotonic()
        if now >= self._window_end:
            self._window_end = now + GUEST_LINES_SECONDS
            self._counts.clear()
        self._counts[subject, kind] += 1
        return self._counts[subject, kind]


class GuestLog(logging.LoggerAdapter[logging.Logger]):
    """Log lines about one device (or connector), and a limit to each kind: its guest can cause any of them.

    A kind is a message before its arguments. What is our own fault (a traceback) is always logged.
    """

    def __init__(self, logger: logging.Logger, subject: str, lines: GuestLines) -> None:
        super().__init__(logger)
        self._subject = subject
        self._lines = lines

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        return f"{self._subject}: {msg}", kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """After the limit, one line says that more is not shown."""
        if not self.isEnabledFor(level):
            return
        number = 0 if kwargs.get("exc_info") else self._lines.count(self._subject, msg)
        if number <= GUEST_LINES:
            super().log(level, msg, *args, **kwargs)
        elif number == GUEST_LINES + 1:
            super().log(level, "more like the line before are not logged for a minute")

    def guest_fault(self, message: str) -> None:
        """A warning about what the guest did."""
        self._lines.faults += 1
        self.warning("%s", message)
