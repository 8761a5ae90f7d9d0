# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests' own memory scanned out by a controller, and the copy with its true reason where that can't be."""

from __future__ import annotations

from tests.rig.controller import controller
from tests.rig.machines.arm64 import ARM64, BOCHS, GPU, RAMFB
from tests.rig.machines.x86_64 import X86_64
from tests.rig.picture import Picture, pattern
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario
from tests.rig.ways import ZERO_COPY, copied, nothing_held, shown

HERE = (ARM64.name,)
# Behind an IOMMU, from one address, and knows it: rcar-du without VSP.
WITH_IOMMU = "iommu=1 contiguous=1"
WITHOUT_IOMMU = "iommu=0 contiguous=1"
# A thousand were run once (docs/rig.md): at 0.1 s each they are most of a run.
ROUNDS = 250


@scenario(120, machines=HERE)
def zero_copy_800x600(rig: Rig) -> str:
    """A guest's own memory on screen: exact, imported=yes, flips in time, no copy; killed mid-flip: dark."""
    with controller(rig, WITH_IOMMU), rig.own_guest("z", "HDMI-A-1:800x600") as guest:
        how = shown(rig, guest, "800x600 XR24", RAMFB)
        expect(how.startswith(ZERO_COPY), how)
        state = rig.dom0.shell("cat /sys/kernel/debug/dri/*/state")
        expect("imported=yes" in state, f"no framebuffer is imported: {state}")
        held = rig.dom0.shell("cat /sys/kernel/debug/dma_buf/bufinfo")
        expect("xen_gntdev" in held, f"no dma-buf of gntdev: {held}")
        flips = guest.flip(150)
        late = guest.kernel_log("timed-out")
        expect(not late, f"the guest's log: {late}")
        guest.ask("flipfree 0")
        expect((count := copied(rig, guest)) == 0, f"{count} pictures were copied")
        nothing_held(rig)
        # What ramfb, which can't be switched off, is given for that (rig_display.c).
        rig.expect_picture(RAMFB, Picture(32, 32, bytes(32 * 32 * 3)))
    return f"{how}; {flips.count} flips {flips.mean / 1000:.1f} ms apart"


@scenario(120, machines=HERE)
def zero_copy_sizes_and_formats(rig: Rig) -> str:
    """1280x800, an odd width, alpha: exact without a copy; a format that the plane lacks: exact by copy."""
    with controller(rig, WITH_IOMMU):
        with rig.own_guest("z", "HDMI-A-1:1280x800") as guest:
            how = shown(rig, guest, "1280x800 XR24", RAMFB)
            expect(how.startswith(ZERO_COPY), how)
            guest.flip(30)
            alpha = shown(rig, guest, "1280x800 AR24", RAMFB)
            expect(alpha.startswith(ZERO_COPY), alpha)
            converted = shown(rig, guest, "1280x800 RG16", RAMFB)
            expect("the plane does not take the format" in converted, converted)
        with rig.own_guest("z", "HDMI-A-1:1366x768") as guest:
            odd = shown(rig, guest, "1366x768 XR24", RAMFB)
            expect(odd.startswith(ZERO_COPY), odd)
    return f"{how}; 1366x768: {odd}"


@scenario(120, machines=HERE)
def pitch_of_the_controller(rig: Rig) -> str:
    """A controller whose pitches are multiples of 256 bytes: 1366x768 by copy, 1280x800 without."""
    with controller(rig, f"{WITH_IOMMU} pitch_align=256"):
        with rig.own_guest("z", "HDMI-A-1:1366x768") as guest:
            how = shown(rig, guest, "1366x768 XR24", RAMFB)
            expect("drmModeAddFB2 EINVAL" in how, how)
        with rig.own_guest("z", "HDMI-A-1:1280x800") as guest:
            other = shown(rig, guest, "1280x800 XR24", RAMFB)
            expect(other.startswith(ZERO_COPY), other)
    return how


@scenario(180, machines=HERE)
def zero_copy_two_outputs(rig: Rig) -> str:
    """Two guests on two outputs, both flipping; one destroyed mid-flip, the other goes on; it comes back."""
    with (
        controller(rig, WITH_IOMMU, heads=2),
        rig.own_guest("y", "HDMI-A-2:1024x768") as second,
        rig.own_guest("z", "HDMI-A-1:800x600") as first,
    ):
        for how in (
            shown(rig, first, "800x600 XR24", RAMFB),
            shown(rig, second, "1024x768 XR24", BOCHS),
        ):
            expect(how.startswith(ZERO_COPY), how)
        first.ask("flipfree 0")
        flips = second.flip(60)
        seconds = first.destroy()
        expect(seconds < 9, f"xl destroy took {seconds:.1f} s: the backend did not answer")
        rig.no_zombies()
        second.flip(20)
        second.ask("show 0 4")
        rig.expect_picture(BOCHS, pattern(1024, 768, 4))
        first.up()
        shown(rig, first, "800x600 XR24", RAMFB, number=5)
        for guest in (first, second):
            late = guest.kernel_log("timed-out")
            expect(not late, f"the log of guest {guest.name}: {late}")
    return f"{flips.count} flips, xl destroy took {seconds:.1f} s"


@scenario(120, machines=HERE)
def zero_copy_reconnected(rig: Rig) -> str:
    """The daemon started anew, killed, and the display detached and attached, with zero copy each time."""
    with controller(rig, WITH_IOMMU), rig.own_guest("z", "HDMI-A-1:800x600") as guest:
        shown(rig, guest, "800x600 XR24", RAMFB)
        guest.ask("flipfree 0")
        rig.daemon.restart()
        guest.open()
        shown(rig, guest, "800x600 XR24", RAMFB, number=4)
        rig.dom0.run("kill", "-KILL", str(rig.daemon.pid()))
        guest.ask("close")
        guest.open()
        shown(rig, guest, "800x600 XR24", RAMFB, number=5)
        guest.ask("close")
        rig.dom0.run("xl", "vdispl-detach", guest.name, "0", timeout=60)
        guest.shell("sleep 2")
        attach = ("backend=0", "be-alloc=0", "connectors=HDMI-A-1:800x600")
        rig.dom0.run("xl", "vdispl-attach", guest.name, *attach, timeout=60)
        guest.open()
        how = shown(rig, guest, "800x600 XR24", RAMFB, number=6)
        guest.destroy()
        nothing_held(rig)
    expect(how.startswith(ZERO_COPY), how)
    return how


@scenario(120, machines=HERE)
def imported_guest_buffers(rig: Rig) -> str:
    """Buffers that the guest imported (udmabuf, dma-heaps: w = h = bpp = 0 arrives): exact, without a copy."""
    with controller(rig, WITH_IOMMU), rig.own_guest("z", "HDMI-A-1:800x600") as guest:
        since = len(rig.daemon.log())
        for number, source in enumerate(
            ("udmabuf", "udmabuf:scattered", "heap:system", "heap:cma")
        ):
            mode = f"800x600 XR24 source={source}"
            guest.ask(f"mode 0 {mode}")
            guest.ask(f"show 0 {number}")
            rig.expect_picture(RAMFB, pattern(800, 600, number))
            guest.flip(10)
        how = rig.daemon.wait_for_log(ZERO_COPY, since=since).partition(", XR24, ")[2]
        expect((count := copied(rig, guest)) == 0, f"{count} pictures were copied")
    return how


@scenario(180, machines=HERE)
def copied_with_the_true_reason(rig: Rig) -> str:
    """Cards that can't: the same picture by copy, and the refusal is the one in the kernel's log."""
    with controller(rig, WITHOUT_IOMMU):
        for connectors, screen, reason, kernel in (
            ("HDMI-A-1:800x600", RAMFB, "drmPrimeFDToHandle ENOMEM", "swiotlb buffer is full"),
            ("Virtual-1:800x600", GPU, "drmPrimeFDToHandle ENOMEM", "swiotlb buffer is full"),
            ("Virtual-2:800x600", BOCHS, "DRM_IOCTL_MODE_ATOMIC EINVAL", ""),
        ):
            rig.dom0.shell("dmesg -C")
            with rig.own_guest("z", connectors) as guest:
                how = shown(rig, guest, "800x600 XR24", screen)
                expect(how.startswith("by copy") and reason in how, f"{connectors}: {how}")
                log = rig.dom0.shell("dmesg")
                expect(kernel in log, f"{connectors}: the kernel did not say {kernel!r}: {log}")
                guest.flip(20)
    return "swiotlb (ramfb without an IOMMU, virtio-gpu), no vmap (bochs)"


@scenario(120, machines=(X86_64.name,))
def copied_in_a_pv_domain(rig: Rig) -> str:
    """An x86 PV dom0 exports nothing: by copy, and that is the reason given."""
    rig.guest("a").destroy()
    with rig.own_guest("z", "Virtual-1:800x600") as guest:
        how = shown(rig, guest, "800x600 XR24", 0)
        expect(how.startswith("by copy") and "a PV domain cannot export" in how, how)
    return how


@scenario(180, machines=HERE)
def controller_that_lies(rig: Rig) -> str:
    """rcar-du with VSP, modelled: copied, and said so; with an IOMMU asserted: contiguous exports."""
    model = "iommu=1 contiguous=0 name=rcar-du vsp=1"
    toml = '[card."driver:rcar-du"]\niommu = true\n'
    with controller(rig, model), rig.own_guest("z", "HDMI-A-1:800x600") as guest:
        how = shown(rig, guest, "800x600 XR24", RAMFB)
        expect("wrong memory without an error" in how, how)
    with controller(rig, model, toml=toml), rig.own_guest("z", "HDMI-A-1:800x600") as guest:
        asserted = shown(rig, guest, "800x600 XR24", RAMFB)
        expect(asserted.startswith(f"{ZERO_COPY} write-combined"), asserted)
    return asserted


@scenario(180, machines=HERE)
def never_and_require(rig: Rig) -> str:
    """zero-copy = "never" copies what could be shown; "require" refuses what can't, and the guest sees it."""
    never = '[card."driver:rig-display"]\nzero-copy = "never"\n'
    require = '[card."driver:rig-display"]\nzero-copy = "require"\n'
    connectors = "HDMI-A-1:800x600"
    with controller(rig, WITH_IOMMU, toml=never), rig.own_guest("z", connectors) as guest:
        how = shown(rig, guest, "800x600 XR24", RAMFB)
        expect('zero-copy = "never"' in how, how)
    with controller(rig, WITHOUT_IOMMU, toml=require), rig.own_guest("z", connectors) as guest:
        since = len(rig.daemon.log())
        guest.ask("mode 0 800x600 XR24")
        line = rig.daemon.wait_for_log("no way to the screen is left", since=since)
        failed = guest.kernel_log("Failed to enable display")
        expect(bool(failed), "the guest's kernel noticed nothing")
    return f"require: {failed[-1].partition('] ')[2]}; {line.partition('left: ')[2][:60]}"


@scenario(300, machines=HERE)
def rounds_leave_nothing(rig: Rig) -> str:
    """Buffers made, attached, flipped to and destroyed in turn: fds, grants and memory are where they were."""
    with controller(rig, WITH_IOMMU), rig.own_guest("z", "HDMI-A-1:640x480") as guest:
        shown(rig, guest, "640x480 XR24", RAMFB)
        guest.rounds(20)
        pid = rig.daemon.pid()
        before = rig.dom0.shell(f"ls /proc/{pid}/fd | wc -l").strip()
        memory = rig.daemon.resident_kib()
        rounds = guest.rounds(ROUNDS)
        after = rig.dom0.shell(f"ls /proc/{pid}/fd | wc -l").strip()
        grown = rig.daemon.resident_kib() - memory
        expect(not rounds.failures, f"{len(rounds.failures)} rounds failed: {rounds.failures[:3]}")
        expect(after == before, f"{before} files were open, {after} are")
        expect(grown < 1024, f"{grown} KiB more are resident")
        guest.destroy()
        nothing_held(rig)
    each = rounds.milliseconds / ROUNDS
    return f"{ROUNDS} in {rounds.milliseconds / 1000:.0f} s, {each:.0f} ms each; {grown} KiB grown"
