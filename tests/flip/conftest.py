# SPDX-License-Identifier: GPL-2.0-or-later
"""Connectors whose thread runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flip.kit import Connector


def _run(refresh_rate: float) -> Iterator[Connector]:
    connector = Connector(refresh_rate)
    connector.start()
    yield connector
    connector.close()


@pytest.fixture
def connector() -> Iterator[Connector]:
    """Without refreshes."""
    yield from _run(0)


@pytest.fixture
def drawn() -> Iterator[Connector]:
    """Looked at 100 times a second while its guest does not flip."""
    yield from _run(100)
