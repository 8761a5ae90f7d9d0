# SPDX-License-Identifier: GPL-2.0-or-later
"""``make rig-shell``: a person in dom0's console, with a guest that draws on the first screen."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.rig.cache import progress
from tests.rig.dom0_link import RigError
from tests.rig.machines.kind import Images, MachineKind
from tests.rig.qemu import Machine
from tests.rig.rig import Rig

WELCOME = """\
rig: dom0's console follows; a root shell comes after 1-2 minutes, a guest on the first screen a minute later.
{screens}
                 or Ctrl-a c, then at QEMU's prompt: screendump /tmp/screen.ppm gpu 0   (Ctrl-a c: back)
  in dom0:       xl list; xl vdispl-list a; xl console a; journalctl -fu xendisplback; /root/a.cfg
  leave:         Ctrl-a x"""


def shell(kind: MachineKind, images: Images, directory: Path) -> int:
    screens = "\n".join(
        f"  {screen.output + ':':14} vncviewer {directory}/vnc{number}"
        for number, screen in enumerate(kind.screens)
    )
    print(WELCOME.format(screens=screens), flush=True)
    with Machine(kind, images, directory, interactive=True) as machine:
        rig = Rig(machine)
        threading.Thread(target=_show_a_guest, args=(rig,), daemon=True).start()
        machine.wait()
    return 0


def _show_a_guest(rig: Rig) -> None:
    try:
        rig.boot()
        guest = rig.guest_up("a")
        guest.ask("mode 0 800x600 XR24")
        guest.ask("flipfree 0")
    except RigError as error:
        progress(f"no guest: {error}\r")
    else:
        progress(f"guest a draws on the first screen: vncviewer {rig.machine.directory}/vnc0\r")
