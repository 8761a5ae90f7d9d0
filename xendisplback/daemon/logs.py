# SPDX-License-Identifier: GPL-2.0-or-later
"""Log lines to stderr: plain text, with the level as journald understands it (sd-daemon(3))."""

from __future__ import annotations

import logging
import os
import sys

_PRIORITY = {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}


class _JournalFormatter(logging.Formatter):
    """``<3>text``; every line of a traceback gets the prefix, or journald would lose its level."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITY.get(record.levelname, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def start_logging(level: str) -> None:
    """Once per process. Under systemd (JOURNAL_STREAM) with priorities, else with time and level."""
    handler = logging.StreamHandler(sys.stderr)
    if "JOURNAL_STREAM" in os.environ:
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    root = logging.getLogger("xendisplback")
    root.addHandler(handler)
    set_level(level)


def set_level(level: str) -> None:
    logging.getLogger("xendisplback").setLevel(level.upper())
