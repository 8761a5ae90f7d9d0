# SPDX-License-Identifier: GPL-2.0-or-later
"""Backend allocation (be-alloc=1): guests draw in dom0's memory."""

from __future__ import annotations

import time

from tests.rig.controller import controller
from tests.rig.dom0_link import RigError
from tests.rig.machines.arm64 import ARM64, BOCHS, GPU, RAMFB
from tests.rig.machines.x86_64 import PVH_GUEST, X86_64
from tests.rig.picture import pattern
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario
from tests.rig.ways import ZERO_COPY, copied, nothing_held, shown

ALLOWED = "[be-alloc]\nper-domain = 16\n"
FREED_SECONDS = 10.0
# What Linux says when contiguous memory is freed that a guest still maps; dom0 dies of it sooner or later.
FREED_IN_USE = "still in use"


def freed(rig: Rig) -> None:
    """All that was granted is free again, and was not freed before."""
    deadline = time.monotonic() + FREED_SECONDS
    while True:
        try:
            nothing_held(rig)
            break
        except RigError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    in_use = rig.dom0.shell(f"dmesg | grep '{FREED_IN_USE}'", check=False)
    expect(not in_use, f"dom0's kernel: {in_use}")


@scenario(120, machines=(ARM64.name,))
def be_alloc_by_copy(rig: Rig) -> str:
    """No memory of the card (virtio-gpu has none of 16 bits a pixel): pages of gntalloc, exact by copy."""
    rig.guest("a").destroy()
    with (
        rig.daemon.configured(ALLOWED),
        rig.own_guest("e", "Virtual-1:800x600", be_alloc=True) as guest,
    ):
        how = shown(rig, guest, "800x600 RG16", GPU)
        expect(how.startswith("by copy (card's memory: drmModeCreateDumbBuffer EINVAL"), how)
        guest.flip(30)
        guest.ask("show 0 4")
        rig.expect_picture(GPU, pattern(800, 600, 4, "RG16"))
        rounds = guest.rounds(10)
        expect(not rounds.failures, str(rounds.failures))
        late = guest.kernel_log("timed-out")
        expect(not late, f"the guest's log: {late}")
    return how


@scenario(180, machines=(X86_64.name,))
def be_alloc_in_a_pvh_guest(rig: Rig) -> str:
    """x86: Debian's kernel can't grant the card's memory: pages of gntalloc, exact by copy."""
    rig.guest("a").destroy()
    rig.dom0.run("modprobe", "xen-gntalloc")
    with (
        rig.daemon.configured(ALLOWED),
        # A PV guest's programs can't map what we grant it: they are killed.
        rig.own_guest("e", "Virtual-1:800x600", be_alloc=True, kind=PVH_GUEST) as guest,
    ):
        how = shown(rig, guest, "800x600 XR24", 0)
        expect(how.startswith("by copy (card's memory: xengnttab_dmabuf_imp_to_refs ENOTTY"), how)
        guest.flip(30)
        guest.ask("show 0 4")
        rig.expect_picture(0, pattern(800, 600, 4))
    return how


@scenario(180, machines=(ARM64.name,))
def be_alloc_zero_copy(rig: Rig) -> str:
    """The cards' own memory: exact without a copy, on a controller without an IOMMU too."""
    with controller(rig, "iommu=0 contiguous=1", toml=ALLOWED) as modelled:
        for connectors, screen in (
            ("HDMI-A-1:800x600", RAMFB),
            ("Virtual-1:800x600", GPU),
            ("Virtual-2:800x600", BOCHS),
        ):
            with rig.own_guest("e", connectors, be_alloc=True) as guest:
                how = shown(rig, guest, "800x600 XR24", screen)
                expect(how == f"{ZERO_COPY} card's memory", f"{connectors}: {how}")
                guest.flip(30)
                guest.ask("show 0 4")
                rig.expect_picture(screen, pattern(800, 600, 4))
                rounds = guest.rounds(20)
                expect(not rounds.failures, f"{connectors}: {rounds.failures}")
                # A driver that copies by itself is told each time that the picture may have changed.
                expect((count := copied(rig, guest)) == 0, f"{count} pictures were copied")
        freed(rig)
        expect((count := modelled.counter("copied")) == 0, f"its driver copied {count} bytes")
    return how


@scenario(180, machines=(ARM64.name,))
def be_alloc_outlives_the_daemon(rig: Rig) -> str:
    """Contiguous memory that a guest maps: daemon stopped and killed, guest destroyed; freed, but not before."""
    with controller(rig, "iommu=0 contiguous=1", toml=ALLOWED):
        # Its cards are opened after it has said READY.
        time.sleep(3)
        before = rig.daemon.kept_files()
        with rig.own_guest("e", "HDMI-A-1:800x600", be_alloc=True) as guest:
            shown(rig, guest, "800x600 XR24", RAMFB)
            # The guest is unplugged, and has it mapped until it closes its device.
            rig.daemon.stop()
            rig.daemon.start()
            guest.ask("close")
            guest.open()
            shown(rig, guest, "800x600 XR24", RAMFB, number=4)
            pid = rig.daemon.pid()
            rig.dom0.run("kill", "-KILL", str(pid))
            guest.ask("close")
            guest.open()
            shown(rig, guest, "800x600 XR24", RAMFB, number=5)
            guest.destroy()
        freed(rig)
        after = rig.daemon.kept_files()
        expect(after == before, f"systemd holds {after} files, {before} before the guest came")
    return ""


@scenario(120, machines=(ARM64.name,))
def be_alloc_not_allowed(rig: Rig) -> str:
    """Without the operator's word: -EACCES, the log says what to set, the guest lives on."""
    for name in ("a", "b"):
        rig.guest(name).destroy()
    rig.serve()
    since = len(rig.daemon.log())
    with rig.own_guest("e", "Virtual-1:800x600", be_alloc=True) as guest:
        try:
            guest.ask("mode 0 800x600 XR24")
        except RigError as error:
            said = str(error)
        else:
            raise RigError("the guest was given a buffer")
        rig.daemon.wait_for_log("be-alloc=1 is not allowed", since=since)
        guest.ask("ping")
    expect("Permission denied" in said, said)
    return said.rpartition(": ")[2]
