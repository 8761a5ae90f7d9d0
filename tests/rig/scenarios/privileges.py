# SPDX-License-Identifier: GPL-2.0-or-later
"""What the daemon may do in dom0: all other scenarios run with no more than this."""

from __future__ import annotations

import re

from tests.rig.daemon import UNIT
from tests.rig.dom0_link import RigError
from tests.rig.rig import Rig
from tests.rig.scenario import BOTH, expect, scenario

# Of 10, by systemd's count; 9.6 is a unit that says nothing.
MOST_EXPOSED = 1.6


@scenario(120, machines=BOTH)
def least_privilege(rig: Rig) -> str:
    """No root, no capability, no new privileges, seccomp, no writable code; systemd's figure."""
    rig.serve()
    status = rig.dom0.get(f"/proc/{rig.daemon.pid()}/status").decode()
    fields = dict(line.split(":", 1) for line in status.splitlines())
    expect("0" not in fields["Uid"].split(), f"it runs as root: {fields['Uid']}")
    for capabilities in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        expect(int(fields[capabilities], 16) == 0, f"{capabilities} {fields[capabilities]}")
    expect(fields["NoNewPrivs"].strip() == "1", "it may gain privileges")
    expect(fields["Seccomp"].strip() == "2", "it may make any system call")
    mapped = rig.dom0.shell(f"grep -c ' rwxp ' /proc/{rig.daemon.pid()}/maps", check=False)
    expect(mapped.strip() == "0", f"{mapped.strip()} mappings are writable and executable")
    said = rig.dom0.run("systemd-analyze", "security", "--no-pager", UNIT, timeout=60).out
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", said)
    if found is None:
        raise RigError(f"not systemd-analyze's figure: {said[-200:]}")
    expect(float(found[1]) <= MOST_EXPOSED, said)
    return f"user {fields['Uid'].split()[0]}, exposure {found[1]} of 10"
