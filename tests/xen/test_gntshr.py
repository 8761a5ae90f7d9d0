# SPDX-License-Identifier: GPL-2.0-or-later
"""Pages of ours that guests map: gntalloc's handle, and what is said where there are none."""

from __future__ import annotations

import errno

import pytest

from tests.xen.library import PAGES, REFS, Library
from xendisplback.errors import HostError
from xendisplback.xen.gntshr import Shared
from xendisplback.xen.gnttab import Gnttab


def test_shared_pages_are_writable_for_the_guest_and_unmapped_once(library: Library) -> None:
    table = Gnttab()
    first, second = table.share(3, 2), table.share(4, 1)
    assert (first.address, first.length, first.refs) == (PAGES, 8192, REFS[:2])
    first.close()
    first.close()
    second.close()
    table.close()
    assert library.calls == [
        "open gntalloc",
        "share 2 with 3, writable 1",
        "open gntalloc",
        "share 1 with 4, writable 1",
        "unshare 2",
        "close gntalloc",
        "unshare 1",
        "close gntalloc",
        "close",
    ]


def test_gntalloc_is_not_opened_before_it_is_needed(library: Library) -> None:
    Gnttab().close()
    assert library.calls == ["close"]


def test_shared_pages_outlive_the_grant_table(library: Library) -> None:
    table = Gnttab()
    shared = table.share(3, 1)
    table.close()
    shared.close()
    assert library.calls == [
        *("open gntalloc", "share 1 with 3, writable 1"),
        *("close", "unshare 1", "close gntalloc"),
    ]


def test_the_modules_limit_is_named_when_it_is_reached(library: Library) -> None:
    table = Gnttab()
    library.refuse = errno.ENOSPC
    with pytest.raises(HostError, match=r"xen_gntalloc/parameters/limit.*1024") as caught:
        table.share(3, 3)
    assert caught.value.call == "xengntshr_share_pages"
    assert caught.value.errno == errno.ENOSPC
    assert library.calls[-1] == "close gntalloc"
    table.close()


def test_pages_that_cannot_be_unmapped_are_an_error(library: Library) -> None:
    shared = Shared(3, 1)
    library.refuse = errno.EINVAL
    with pytest.raises(HostError, match="1 shared pages can't be unmapped"):
        shared.close()


def test_no_gntalloc_says_what_to_load() -> None:
    with pytest.raises(HostError, match=r"/dev/xen/gntalloc missing.*modprobe xen-gntalloc"):
        Shared(3, 1)


def test_no_permission_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str, mode: int) -> bool:
        return False

    monkeypatch.setattr("xendisplback.xen.gntshr.GNTALLOC", "/dev/null")
    monkeypatch.setattr("xendisplback.xen.gntshr.os.access", refused)
    with pytest.raises(HostError, match="no permission on /dev/null") as caught:
        Shared(3, 1)
    assert caught.value.errno == errno.EACCES
