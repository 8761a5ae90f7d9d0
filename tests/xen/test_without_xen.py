# SPDX-License-Identifier: GPL-2.0-or-later
"""What the bindings say where there is no Xen, or no permission; and mapping against a deadline."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest
import trio

from xendisplback.errors import HostError
from xendisplback.host import DmaBuf, ExportKind, GrantedPages, GrantMapping, SharedPages
from xendisplback.sim.shared_page import SharedPage
from xendisplback.xen.devices import refusal
from xendisplback.xen.evtchn import Evtchn
from xendisplback.xen.gnttab import DomainGrants, Gnttab
from xendisplback.xen.shared_memory import read_memory, write_memory


def test_importing_everything_needs_no_xen() -> None:
    script = "import xendisplback.native, xendisplback.daemon.main, xendisplback.cli"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


@pytest.mark.parametrize(("opened", "path"), [(Gnttab, "gntdev"), (lambda: Evtchn(1), "evtchn")])
def test_no_xen_is_said_in_one_line_that_points_to_the_demo(opened: type, path: str) -> None:
    with pytest.raises(HostError, match=f"no Xen here: /dev/xen/{path} missing.*xendisplback demo"):
        opened()


def test_run_without_xen_exits_with_1_and_that_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xendisplback", "run"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    assert "no Xen here: /dev/xen/gntdev missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_permission_names_the_file_and_the_setting() -> None:
    text = str(refusal("/dev/xen/gntdev", "open", errno.EACCES))
    assert "no permission on /dev/xen/gntdev" in text
    assert "DeviceAllow=" in text


class SlowTable:
    """A grant table whose guest is paged out until :attr:`paged_in`."""

    def __init__(self) -> None:
        self.paged_in = threading.Event()
        self.closed = threading.Event()
        self.address = 0
        self.length = 4096
        self.fd = -1

    def map(self, domid: int, refs: Sequence[int], *, writable: bool) -> GrantMapping:
        assert (domid, list(refs), writable) == (3, [8], False)
        self.paged_in.wait(10)
        return self

    def export(self, domid: int, refs: Sequence[int], kind: ExportKind) -> DmaBuf:
        assert (domid, list(refs), kind) == (3, [8], ExportKind.COHERENT)
        self.paged_in.wait(10)
        return self

    def grant(self, domid: int, dmabuf: int, pages: int) -> GrantedPages:
        raise NotImplementedError

    def share(self, domid: int, pages: int) -> SharedPages:
        raise NotImplementedError

    def close(self) -> None:
        self.closed.set()


def soon() -> float:
    return trio.current_time() + 0.05


async def test_a_mapping_in_time_is_returned_open() -> None:
    table = SlowTable()
    table.paged_in.set()
    mapping = await DomainGrants(table, 3).map([8], trio.current_time() + 5, writable=False)
    assert mapping is table
    assert not table.closed.is_set()


async def test_a_mapping_that_comes_too_late_is_refused_and_undone() -> None:
    table = SlowTable()
    with trio.fail_after(5):
        with pytest.raises(HostError) as caught:
            await DomainGrants(table, 3).map([8], soon(), writable=False)
        assert caught.value.errno == errno.ETIMEDOUT
        table.paged_in.set()
        await trio.to_thread.run_sync(table.closed.wait, 5)
    assert table.closed.is_set()


async def test_an_export_has_the_same_deadline() -> None:
    table = SlowTable()
    grants = DomainGrants(table, 3)
    with trio.fail_after(5):
        with pytest.raises(HostError) as caught:
            await grants.export([8], soon(), ExportKind.COHERENT)
        assert caught.value.call == "xengnttab_dmabuf_exp_from_refs"
        assert caught.value.errno == errno.ETIMEDOUT
        table.paged_in.set()
        await trio.to_thread.run_sync(table.closed.wait, 5)
        assert table.closed.is_set()
        table.closed.clear()
        assert await grants.export([8], trio.current_time() + 5, ExportKind.COHERENT) is table
    assert not table.closed.is_set()


async def test_a_cancelled_mapping_is_undone() -> None:
    table = SlowTable()
    with trio.move_on_after(0.05) as scope:
        await DomainGrants(table, 3).map([8], trio.current_time() + 60, writable=False)
    assert scope.cancelled_caught
    table.paged_in.set()
    await trio.to_thread.run_sync(table.closed.wait, 5)
    assert table.closed.is_set()


async def test_a_paged_out_guest_leaves_no_more_than_its_threads_behind() -> None:
    table = SlowTable()
    grants = DomainGrants(table, 3)
    before = threading.active_count()
    limiter = trio.to_thread.current_default_thread_limiter()
    try:
        with trio.fail_after(5):
            for _ in range(10):
                with pytest.raises(HostError):
                    await grants.map([8], soon(), writable=False)
            assert limiter.available_tokens == limiter.total_tokens
        assert threading.active_count() - before <= DomainGrants.MAX_THREADS
    finally:
        table.paged_in.set()


def test_a_shared_page_is_the_memory_it_names() -> None:
    import ctypes

    memory = (ctypes.c_char * 4096)()
    page = SharedPage(ctypes.addressof(memory))
    page.store(4, 0x89ABCDEF)
    page.write_slot(64, bytes(range(64)))
    page.fence()
    assert memory.raw[4:8] == bytes.fromhex("efcdab89")
    assert page.load(4) == 0x89ABCDEF
    assert page.read_slot(64) == memory.raw[64:128] == bytes(range(64))
    write_memory(ctypes.addressof(memory) + 200, b"edid")
    assert read_memory(ctypes.addressof(memory) + 200, 4) == b"edid"
