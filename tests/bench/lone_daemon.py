# SPDX-License-Identifier: GPL-2.0-or-later
"""``xendisplback run`` as a process of its own, on a simulated store ($XENSTORED_PATH) and without Xen.

What it loads and does until guests are at InitWait is the daemon's own; without event channels none gets further.
Only the grant table's device is passed over, which this machine lacks. Writes at the end how long each pass of the
garbage collector took, in ms, one a line.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import cast


def _record_pauses(pauses: list[float]) -> None:
    started = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = time.perf_counter()
        else:
            pauses.append(1e3 * (time.perf_counter() - started))

    gc.callbacks.append(note)


def main() -> int:
    # The tests' packages bring it, the daemon's do not; msgspec would load it where it is.
    cast("dict[str, object]", sys.modules)["typing_extensions"] = None
    from xendisplback import cli, native
    from xendisplback._ext import load_drm, load_xen
    from xendisplback.xen.gnttab import Gnttab

    class NoGrants(Gnttab):
        def __init__(self) -> None:
            load_xen()
            load_drm()

        def close(self) -> None:
            pass

    class HostWithoutXen(native.NativeHost):
        def grant_table(self) -> Gnttab:
            return NoGrants()

    pauses: list[float] = []
    _record_pauses(pauses)
    native.__dict__["NativeHost"] = HostWithoutXen
    code = cli.main(["run"])
    print("\n".join(f"{pause:.4f}" for pause in pauses))
    return code


if __name__ == "__main__":
    sys.exit(main())
