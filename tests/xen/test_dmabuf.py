# SPDX-License-Identifier: GPL-2.0-or-later
"""dma-bufs out of and into grants: what holds the file descriptor's number, and until when."""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

import pytest

from tests.xen.library import REFS, Library
from xendisplback.errors import HostError
from xendisplback.host import ExportKind
from xendisplback.xen.gnttab import Gnttab


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "flags"),
    [(ExportKind.PLAIN, 0), (ExportKind.WRITE_COMBINED, 1), (ExportKind.COHERENT, 2)],
)
def test_an_export_is_closed_then_waited_for_then_its_number_is_free(
    library: Library, kind: ExportKind, flags: int
) -> None:
    table = Gnttab()
    dmabuf = table.export(3, [8, 9], kind)
    fd = dmabuf.fd
    dmabuf.close()
    dmabuf.close()
    assert not is_open(fd)
    table.close()
    # The library checks that the file is closed and its number occupied when it is asked to wait.
    assert library.calls == [f"export 2 of 3, flags {flags}", "wait 2000", "close"]


@contextmanager
def opening_all_the_time(threads: int) -> Generator[list[str], None, None]:
    """Other threads open and close files; yields what went wrong with theirs."""
    wrong: list[str] = []
    stop = threading.Event()
    theirs = os.stat("/dev/zero")

    def work() -> None:
        while not stop.is_set():
            fds = [os.open("/dev/zero", os.O_RDONLY) for _ in range(8)]
            for fd in fds:
                if not os.path.samestat(os.fstat(fd), theirs):
                    wrong.append(f"{fd} became another file")
                os.close(fd)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield wrong
    finally:
        stop.set()
        for worker in workers:
            worker.join(5)


def test_no_other_thread_gets_the_number_of_a_dmabuf_that_closes(library: Library) -> None:
    table = Gnttab()
    with opening_all_the_time(3) as wrong:
        for _ in range(300):
            table.export(3, [8], ExportKind.PLAIN).close()
    assert wrong == []
    assert library.calls.count("wait 2000") == 300


@contextmanager
def no_free_descriptor(highest: int) -> Generator[None, None, None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    used: list[int] = []
    try:
        with suppress(OSError):
            while True:
                used.append(os.open("/dev/zero", os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in used:
            os.close(fd)


def test_a_dmabuf_closes_when_there_is_no_free_descriptor(library: Library) -> None:
    dmabuf = Gnttab().export(3, [8], ExportKind.PLAIN)
    with no_free_descriptor(dmabuf.fd):
        dmabuf.close()
    assert library.calls[-1] == "wait 2000"


def test_a_dmabuf_that_was_released_before_anyone_waited_is_well(library: Library) -> None:
    """The kernel says ENOENT; libxengnttab answers 0 for it, which the first test has."""
    dmabuf = Gnttab().export(3, [8], ExportKind.PLAIN)
    library.refuse = errno.ENOENT
    dmabuf.close()


def test_a_dmabuf_that_is_still_imported_is_an_error_and_closed_all_the_same(
    library: Library,
) -> None:
    table = Gnttab()
    dmabuf = table.export(3, [8], ExportKind.PLAIN)
    fd = dmabuf.fd
    library.refuse = errno.ETIMEDOUT
    with pytest.raises(HostError, match="still imported") as caught:
        dmabuf.close()
    assert caught.value.call == "xengnttab_dmabuf_exp_wait_released"
    assert caught.value.errno == errno.ETIMEDOUT
    assert not is_open(fd)
    table.close()
    assert library.calls[-1] == "close"


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EINVAL, errno.ENOMEM])
def test_a_refused_export_says_what_the_kernel_said(library: Library, number: int) -> None:
    table = Gnttab()
    library.refuse = number
    with pytest.raises(HostError, match="no dma-buf of 2 pages of domain 3") as caught:
        table.export(3, [8, 9], ExportKind.PLAIN)
    assert (caught.value.call, caught.value.errno) == ("xengnttab_dmabuf_exp_from_refs", number)
    table.close()
    assert library.calls[-1] == "close"


def test_the_handle_outlives_exports_and_grants(library: Library) -> None:
    table = Gnttab()
    with open(os.devnull, "rb") as file:
        granted = table.grant(3, file.fileno(), 2)
    dmabuf = table.export(3, [8], ExportKind.PLAIN)
    table.close()
    dmabuf.close()
    granted.close()
    assert library.calls == [
        "grant 2 to 3",
        "export 1 of 3, flags 0",
        "wait 2000",
        "end grants",
    ]


def test_granted_pages_are_taken_back_once_though_the_caller_closed_its_descriptor(
    library: Library,
) -> None:
    table = Gnttab()
    file = os.open(os.devnull, os.O_RDONLY)
    granted = table.grant(3, file, 3)
    assert granted.refs == REFS
    assert library.imported != file
    assert not os.get_inheritable(library.imported)
    os.close(file)
    granted.close()
    granted.close()
    assert not is_open(library.imported)
    table.close()
    assert library.calls == ["grant 3 to 3", "end grants", "close"]


def test_a_refused_grant_leaves_nothing_open(library: Library) -> None:
    table = Gnttab()
    library.refuse = errno.EINVAL
    with (
        open(os.devnull, "rb") as file,
        pytest.raises(HostError, match="3 pages can't be granted to domain 4") as caught,
    ):
        table.grant(4, file.fileno(), 3)
    assert caught.value.call == "xengnttab_dmabuf_imp_to_refs"
    assert caught.value.errno == errno.EINVAL
    assert not is_open(library.imported)
    table.close()
    assert library.calls[-1] == "close"


def test_granting_what_is_not_open_is_an_error_of_the_host(library: Library) -> None:
    with pytest.raises(HostError, match="can't be granted") as caught:
        Gnttab().grant(4, 1 << 20, 3)
    assert caught.value.errno == errno.EBADF


def test_grants_that_cannot_be_taken_back_are_an_error(library: Library) -> None:
    with open(os.devnull, "rb") as file:
        granted = Gnttab().grant(4, file.fileno(), 1)
    library.refuse = errno.ENOENT
    with pytest.raises(HostError, match="can't be taken back") as caught:
        granted.close()
    assert caught.value.call == "xengnttab_dmabuf_imp_release"
    assert not is_open(library.imported)
