# SPDX-License-Identifier: GPL-2.0-or-later
"""A simulated Xen host in one process: what the daemon sees of Xen and KMS, and guests on top of it.

- ``host``            the machine: :class:`~xendisplback.sim.host.SimHost` fulfils ``xendisplback.host.Host``
- ``store*``          XenStore: the tree, its sessions, the wire protocol on a Unix socket
- ``memory``, ``grants``, ``mapping``, ``event_channels``   a guest's pages, who may map them, and doorbells
- ``machine``         the backend's grant table: mappings, exports, and ``backend_memory`` that guests map
- ``kernel``, ``dmabuf``   what the backend's kernel can, and its dma-bufs
- ``device``, ``card``, ``kms_*``, ``framebuffers``   a display device with a 60 Hz vblank, and an open card on it
- ``controller``      what the device wants of the memory that it shows
- ``process``, ``fd_store``   what the end of the daemon's process closes, and what systemd keeps
- ``toolstack``, ``domain``, ``guest``, ...     what libxl and Linux's xen_drm_front do
- ``demo``            the daemon on this host, for people
- ``daemon_thread``, ``stages``   for figures: tests/bench

Rules: the daemon's side is thread-safe and makes the system calls that the real one would make; guests and
the toolstack are trio objects in the loop that entered the host.
"""
