# SPDX-License-Identifier: GPL-2.0-or-later
"""Several guests on one output: each in its layer, composed by copy or on planes of their own."""

from __future__ import annotations

from collections.abc import Callable

from tests.rig.guests import Guest
from tests.rig.machines.arm64 import ARM64, GPU
from tests.rig.picture import Picture, pattern, placed
from tests.rig.rig import Rig
from tests.rig.scenario import expect, scenario
from tests.rig.vkms import vkms

HERE = (ARM64.name,)
WIDTH, HEIGHT = 1024, 768
LAYERS = """
[output.{output}]
mode = "1024x768"
[[output.{output}.layer]]
name = "back"
[[output.{output}.layer]]
name = "camera"
zpos = 1
x = 350
y = 41
width = 640
height = 480
[route]
y = ["{output}/back"]
z = ["{output}/camera"]
"""


def _both(back: int, camera: int) -> Picture:
    return placed(pattern(640, 480, camera), pattern(WIDTH, HEIGHT, back), 350, 41)


def _flip_both(back: Guest, camera: Guest, expect_picture: Callable[[Picture], float]) -> str:
    """At the same time and one without the other; what is seen at the end is the last of each."""
    back.ask(f"mode 0 {WIDTH}x{HEIGHT} XR24", timeout=60)
    camera.ask("mode 0 640x480 XR24", timeout=60)
    expect_picture(_both(0, 0))
    back.ask("flipfree 0")
    flips = camera.flip(60)
    slower = back.stop()
    expect(slower.count > 5, f"guest {back.name} stood still: {slower}")
    back.ask("show 0 4", timeout=60)
    # An even number of flips: the first of its two buffers.
    expect_picture(_both(4, 0))
    camera.ask("show 0 5", timeout=60)
    expect_picture(_both(4, 5))
    camera.ask("off 0")
    expect_picture(pattern(WIDTH, HEIGHT, 4))
    camera.ask("on 0")
    expect_picture(_both(4, 5))
    for guest in (back, camera):
        late = guest.kernel_log("timed-out")
        expect(not late, f"the log of guest {guest.name}: {late}")
    return f"{flips.count} and {slower.count} flips at the same time"


@scenario(180, machines=HERE)
def layers_composed(rig: Rig) -> str:
    """virtio-gpu has one plane: two guests on it, both exact, both flip in time."""
    with (
        rig.daemon.configured(LAYERS.format(output="Virtual-1")),
        rig.own_guest("y", f"Virtual-1:{WIDTH}x{HEIGHT}") as back,
        rig.own_guest("z", "Virtual-1:640x480") as camera,
    ):
        return _flip_both(back, camera, lambda picture: rig.expect_picture(GPU, picture))


@scenario(180, machines=HERE)
def layers_on_planes(rig: Rig) -> str:
    """vkms has overlay planes: one for each guest, both exact by the composer's checksum, both in time."""
    with vkms(rig) as card:
        output = card.output(0)
        with (
            rig.daemon.configured(LAYERS.format(output=output)),
            rig.own_guest("y", f"{output}:{WIDTH}x{HEIGHT}") as back,
            rig.own_guest("z", f"{output}:640x480") as camera,
        ):
            seen = _flip_both(back, camera, lambda picture: card.expect_picture(0, picture))
            count = card.planes(0)
            expect(count == 2, f"{count} planes are in use, not two")
    return seen
