# SPDX-License-Identifier: GPL-2.0-or-later
"""The two kinds of failure that are nobody's bug; any other exception is a bug of ours.

``FrontendError``: a guest broke the protocol or asked for the impossible. It never reaches beyond that
guest. ``HostError``: Xen, the kernel or the configuration said no; the message is for the operator.
"""

from __future__ import annotations

import errno
import os
from typing import Final, cast

GONE: Final = frozenset({errno.ENODEV, errno.ENXIO, errno.EIO})
"""What the calls on a device say that was unplugged, or whose driver was unbound."""


class FrontendError(Exception):
    """The guest's fault; see :mod:`xendisplback.protocol.errors` for its two kinds."""


class HostError(Exception):
    """The host refused something.

    ``call`` is the system or library call as its manual page spells it, ``path`` the file or node it was
    made on, ``errno`` Linux's number (None where there is none), ``hint`` what the operator can do.
    """

    def __init__(
        self,
        message: str,
        *,
        call: str | None = None,
        path: str | None = None,
        errno: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.call = call
        self.path = path
        self.errno = errno
        self.hint = hint

    def __str__(self) -> str:
        text = self.message
        if self.call is not None:
            text += f" ({self.call}{': ' + os.strerror(self.errno) if self.errno else ''})"
        if self.path is not None and self.path not in text:
            text += f" [{self.path}]"
        if self.hint is not None:
            text += f"; {self.hint}"
        return text


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group, however deep; ``[error]`` for one that is no group."""
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return [leaf for inner in group.exceptions for leaf in leaves(inner)]
    return [error]
