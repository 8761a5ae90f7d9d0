# SPDX-License-Identifier: GPL-2.0-or-later
from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from xendisplback.xen.store import XenStore

from .peer import Peer
from .server import Xenstored, build_shim, fetch_packages, run_xenstored


@pytest.fixture(scope="session")
def xenstored_files() -> tuple[Path, Path]:
    return fetch_packages(), build_shim()


@pytest.fixture
def xenstored(xenstored_files: tuple[Path, Path]) -> Generator[Xenstored]:
    """A fresh store."""
    with run_xenstored(*xenstored_files) as server:
        yield server


@pytest.fixture
async def store(xenstored: Xenstored) -> AsyncGenerator[XenStore]:
    """The client under test."""
    async with XenStore.connect(xenstored.socket_path) as connection:
        yield connection


@pytest.fixture
async def peer(xenstored: Xenstored) -> AsyncGenerator[Peer]:
    """Another client, independent of ours: a toolstack in domain 0."""
    async with Peer.connect(xenstored.socket_path) as client:
        yield client
