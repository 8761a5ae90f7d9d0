# SPDX-License-Identifier: GPL-2.0-or-later
"""What the bindings say where there is no Xen, or no permission; and mapping against a deadline."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from xendisplback.errors import HostError
from xendisplback.sim.shared_page import SharedPage
from xendisplback.xen.devices import refusal
from xendisplback.xen.evtchn import Evtchn
from xendisplback.xen.gnttab import Gnttab
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
