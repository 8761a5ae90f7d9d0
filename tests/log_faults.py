# SPDX-License-Identifier: GPL-2.0-or-later
"""Tracebacks in the log: what the daemon itself calls its own fault."""

from __future__ import annotations

import logging


class LogFaults(logging.Handler):
    """Between :meth:`start` and :meth:`stop`."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.texts.append(logging.Formatter().format(record))

    def start(self) -> None:
        logging.getLogger("xendisplback").addHandler(self)

    def stop(self) -> None:
        logging.getLogger("xendisplback").removeHandler(self)
