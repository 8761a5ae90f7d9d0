# SPDX-License-Identifier: GPL-2.0-or-later
"""Python that the daemon's C calls in place of libdrm and libxenevtchn, from any thread.

C passes a number; global tables, because the C functions too must outlive every thread's call.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _ctypes import CFuncPtr

T = TypeVar("T")

_objects: dict[int, object] = {}
_numbers = itertools.count(1)
_thread = threading.local()


def register(thing: object) -> int:
    """The number under which C knows ``thing``, until :func:`forget`."""
    number = next(_numbers)
    _objects[number] = thing
    return number


def forget(number: int) -> None:
    _objects.pop(number, None)


def find(number: int, kind: type[T]) -> T | None:
    """What a callback was called for; None: it is gone."""
    if not hasattr(_thread, "known"):
        # Python would make its state of a C thread anew at each call, at three system calls; the call that
        # this stands for makes one. Held once more, the state stays as long as the thread.
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.known = True
    found = _objects.get(number)
    return found if isinstance(found, kind) else None


def address(callback: CFuncPtr) -> int:
    """Of a ctypes callback."""
    function = ctypes.cast(callback, ctypes.c_void_p).value
    assert function is not None
    return function
