# SPDX-License-Identifier: GPL-2.0-or-later
"""The rig: real Xen, Debian's own kernels as dom0 and guests, a real KMS driver, all inside QEMU.

``python3 -m tests.rig`` (``make rig``) runs the scenarios; see docs/rig.md. Host side: the standard library
only. What is downloaded and built is kept in a cache outside the checkout (:mod:`tests.rig.cache`).
"""
