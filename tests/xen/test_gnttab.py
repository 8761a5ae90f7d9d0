# SPDX-License-Identifier: GPL-2.0-or-later
"""The grant table's handle against a stand-in for libxengnttab: how long it lives, and what failures say."""

from __future__ import annotations

import errno
import threading

import pytest

from tests.xen.library import PAGES, Library
from xendisplback.errors import HostError
from xendisplback.xen.gnttab import Gnttab


def test_a_mapping_is_unmapped_once_and_then_the_handle_closes(library: Library) -> None:
    table = Gnttab()
    mapping = table.map(3, [8, 9], writable=False)
    assert (mapping.address, mapping.length) == (PAGES, 8192)
    mapping.close()
    mapping.close()
    table.close()
    assert library.calls == ["map 2 of 3", "unmap 2", "close"]


def test_the_handle_outlives_what_is_still_mapped(library: Library) -> None:
    """A thread left behind with a paged-out guest unmaps after everybody else has gone."""
    table = Gnttab()
    mapping = table.map(3, [8], writable=False)
    table.close()
    mapping.close()
    assert library.calls == ["map 1 of 3", "unmap 1"]


def test_a_refused_mapping_is_an_error_and_no_use_of_the_handle(library: Library) -> None:
    table = Gnttab()
    library.refuse = errno.EINVAL
    with pytest.raises(HostError, match="1 pages of domain 3 can't be mapped") as caught:
        table.map(3, [8], writable=False)
    assert caught.value.errno == errno.EINVAL
    table.close()
    assert library.calls[-1] == "close"


def test_a_refused_unmapping_is_an_error_and_no_use_of_the_handle(library: Library) -> None:
    table = Gnttab()
    mapping = table.map(3, [8], writable=True)
    library.refuse = errno.EIO
    with pytest.raises(HostError, match="1 pages can't be unmapped") as caught:
        mapping.close()
    assert caught.value.errno == errno.EIO
    table.close()
    assert library.calls[-1] == "close"


def test_two_threads_that_close_a_mapping_unmap_it_once(library: Library) -> None:
    """A frontend that gives up and its abandoned thread may both do it."""
    for _ in range(20):
        mapping = Gnttab().map(3, [8], writable=False)
        threads = [threading.Thread(target=mapping.close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert library.calls.count("unmap 1") == 20
