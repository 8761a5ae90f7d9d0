# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a library's handle must stay open, and closing once whichever thread comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Closing:
    """One thing to be closed, perhaps by two threads at once."""

    def __init__(self) -> None:
        self._first = threading.Lock()

    def begin(self) -> bool:
        """True for the first caller, who then closes it."""
        return self._first.acquire(blocking=False)


class Use:
    """One thing that needs the handle."""

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self.kept = False

    def end(self) -> None:
        self._end()


class Uses:
    """Of one handle, by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @contextmanager
    def use(self) -> Generator[Use, None, None]:
        """Ends with the block unless it sets ``kept``; then with :meth:`Use.end`."""
        with self._lock:
            self._count += 1
        use = Use(self._end)
        try:
            yield use
        finally:
            if not use.kept:
                use.end()

    def _end(self) -> None:
        with self._lock:
            self._count -= 1

    def close(self, close: Callable[[], object]) -> None:
        """Call ``close`` unless something still uses the handle; then the process's end closes it."""
        with self._lock:
            if self._count == 0:
                close()
