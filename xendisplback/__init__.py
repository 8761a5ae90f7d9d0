# SPDX-License-Identifier: GPL-2.0-or-later
"""xendisplback: the display backend of a Xen host (vdispl, displif.h) on KMS.

Where things are:

- ``protocol/``  displif and XenBus without I/O: bytes in, values and decisions out.
- ``xen/``       what the daemon asks of Xen: XenStore, grant table, event channels, ring memory.
- ``kms/``       libdrm in pykms's vocabulary: Card, Connector, Crtc, Plane, Framebuffer, AtomicReq.
- ``scanout/``   which picture goes on which output, and by which path.
- ``frontend/``  one guest device's life, from discovery to release.
- ``daemon/``    the operator's side: configuration, logs, service, start and stop.
- ``sim/``       a simulated Xen host in one process, for ``xendisplback demo`` and the tests.

Importing the package needs neither Xen nor a display.
"""

__version__ = "0.1.0"
