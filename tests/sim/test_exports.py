# SPDX-License-Identifier: GPL-2.0-or-later
"""Exports of a guest's pages: what refuses them, what they hold, and when they are gone."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator

import pytest

from tests.sim.kit import GUEST, PICTURE, Bench
from xendisplback.errors import HostError
from xendisplback.host import ExportKind
from xendisplback.sim.kernel import SimKernel

PLAIN, WRITE_COMBINED, COHERENT = ExportKind


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench.new()
    yield bench
    bench.close()


def refused(bench: Bench, refs: list[int], kind: ExportKind = PLAIN) -> int | None:
    with pytest.raises(HostError) as caught:
        bench.table.export(GUEST, refs, kind)
    assert caught.value.call == "xengnttab_dmabuf_exp_from_refs"
    assert bench.machine.mapped() == 0
    assert len(bench.machine.dmabufs) == 0
    return caught.value.errno


def test_a_stock_kernel_exports_nothing(bench: Bench) -> None:
    bench.machine.kernel.gntdev_dmabuf = SimKernel().gntdev_dmabuf
    assert refused(bench, bench.buffer().refs) == errno.ENOTTY


def test_a_pv_domain_exports_nothing(bench: Bench) -> None:
    bench.machine.kernel.pv = True
    assert refused(bench, bench.buffer().refs) == errno.EINVAL


@pytest.mark.parametrize("kind", ExportKind)
def test_a_bad_reference_is_invalid_in_every_kind(bench: Bench, kind: ExportKind) -> None:
    buffer = bench.buffer()
    bench.memory.end_access(buffer.refs[5])
    assert refused(bench, buffer.refs, kind) == errno.EINVAL
    assert refused(bench, [*buffer.refs[:5], 99999], kind) == errno.EINVAL
    # An export is writable, so a read-only grant is not enough.
    readonly = bench.memory.grant(bench.memory.allocate(1)[0], 0, readonly=True)
    assert refused(bench, [readonly], kind) == errno.EINVAL
    assert bench.export(bench.buffer(), kind).fd >= 0, "no contiguous memory was lost"


def test_contiguous_memory_is_limited_and_comes_back(bench: Bench) -> None:
    bench.machine.kernel.cma_pages = 500
    first = bench.export(bench.buffer(), WRITE_COMBINED)
    with pytest.raises(HostError) as caught:
        bench.export(bench.buffer(), COHERENT)
    assert caught.value.errno == errno.ENOMEM
    plain = bench.export(bench.buffer())
    first.close()
    bench.export(bench.buffer(), COHERENT).close()
    plain.close()


def test_an_export_is_a_file_of_its_size_until_it_is_closed(bench: Bench) -> None:
    export = bench.export(bench.buffer(10 * 4096))
    assert os.lseek(export.fd, 0, os.SEEK_END) == 10 * 4096
    fd = export.fd
    export.close()
    export.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_exported_pages_are_mapped_until_the_release(bench: Bench) -> None:
    buffer = bench.buffer()
    export = bench.export(buffer)
    mapping = bench.table.map(GUEST, buffer.refs, writable=False)
    assert bench.machine.mapped(GUEST) == 2 * len(buffer.refs)
    mapping.close()
    buffer.free()
    assert bench.memory.deferred == [*buffer.refs]
    export.close()
    assert (bench.machine.mapped(), len(bench.machine.dmabufs)) == (0, 0)


def test_what_a_card_shows_of_an_export_holds_it(bench: Bench) -> None:
    export = bench.export(bench.buffer())
    framebuffer = bench.card.import_framebuffer(export.fd, PICTURE)
    with pytest.raises(HostError) as caught:
        export.close()
    assert caught.value.errno == errno.ETIMEDOUT
    assert bench.machine.mapped(GUEST) == 300
    framebuffer.close()
    framebuffer.close()
    assert bench.machine.mapped(GUEST) == 0


def test_a_destroyed_guest_is_a_zombie_while_an_export_lives(bench: Bench) -> None:
    export = bench.export(bench.buffer())
    bench.machine.destroy(GUEST)
    assert bench.machine.zombies == {GUEST}
    # The pages can be shown still, as xl destroy does not take what another domain has mapped.
    framebuffer = bench.card.import_framebuffer(export.fd, PICTURE)
    bench.modeset(framebuffer).commit(allow_modeset=True)
    assert bench.shown()[4 * 1024 : 4 * 1024 + 4] == b"\x01\0\0\0"
    framebuffer.close()
    export.close()
    assert bench.machine.zombies == set()


def test_a_paged_out_guest_blocks_an_export(bench: Bench) -> None:
    buffer, exported = bench.buffer(), threading.Event()
    bench.memory.page_out()

    def work() -> None:
        bench.export(buffer).close()
        exported.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert not exported.wait(0.1)
    bench.memory.page_in()
    assert exported.wait(5)
    thread.join()
