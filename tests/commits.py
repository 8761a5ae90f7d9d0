# SPDX-License-Identifier: GPL-2.0-or-later
"""Prepared commits, submitted as C does."""

from __future__ import annotations

import ctypes

from xendisplback.host import PreparedCommit

COMMIT_FUNCTION = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_size_t), ctypes.c_uint)


def submit(*commits: PreparedCommit) -> int:
    """As one commit; 0, or a negative errno."""
    arguments = (ctypes.c_size_t * len(commits))(*(commit.argument for commit in commits))
    return int(COMMIT_FUNCTION(commits[0].function)(arguments, len(commits)))
