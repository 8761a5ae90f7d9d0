# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulated Xen host in one process: what the daemon sees of Xen and KMS, and guests on top of it.

- ``host``            the machine: :class:`~xendisplback.sim.host.SimHost` fulfils ``xendisplback.host.Host``
- ``store*``          XenStore: the tree, its sessions, the wire protocol on a Unix socket
- ``memory``, ``mapping``, ``event_channels``   granted guest pages and doorbells
- ``device``, ``card``, ``atomic``, ``crtc``    a display device with a 60 Hz vblank, and an open card on it
- ``toolstack``, ``domain``, ``guest``, ...     what libxl and Linux's xen_drm_front do
- ``demo``, ``bench``  the daemon on this host, for people and for figures

Rules: the daemon's side is thread-safe and makes the system calls that the real one would make; guests and
the toolstack are trio objects in the loop that entered the host.
"""
