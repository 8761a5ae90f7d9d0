# SPDX-License-Identifier: GPL-2.0-or-later
"""The grant table's handle against a stand-in for libxengnttab: how long it lives, and what failures say."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from xendisplback._ext import load_xen
from xendisplback.errors import HostError
from xendisplback.xen import gnttab
from xendisplback.xen.gnttab import Gnttab

PAGES = 0x7000_0000


@dataclass
class Library:
    """Records its calls; maps everything at ``PAGES`` unless ``refuse`` is an errno."""

    refuse: int = 0
    calls: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self._ffi = load_xen().ffi

    def xengnttab_open(self, logger: None, flags: int) -> object:
        return self._ffi.cast("void *", 1)

    def xengnttab_map_domain_grant_refs(
        self, handle: object, count: int, domid: int, refs: object, prot: int
    ) -> object:
        self.calls.append(f"map {count} of {domid}")
        self._ffi.errno = self.refuse
        return None if self.refuse else self._ffi.cast("void *", PAGES)

    def xengnttab_unmap(self, handle: object, start: object, count: int) -> int:
        self.calls.append(f"unmap {count}")
        self._ffi.errno = self.refuse
        return -1 if self.refuse else 0

    def xengnttab_close(self, handle: object) -> int:
        self.calls.append("close")
        return 0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    fake = Library()

    def load() -> object:
        return SimpleNamespace(ffi=load_xen().ffi, lib=fake)

    def permitted(path: str, mode: int) -> bool:
        return True

    monkeypatch.setattr(gnttab, "load_xen", load)
    monkeypatch.setattr(os, "access", permitted)
    return fake


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
