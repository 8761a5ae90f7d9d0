# SPDX-License-Identifier: GPL-2.0-or-later
"""libdrm in pykms's vocabulary, one object a file: fulfils :class:`xendisplback.host.Card` on real
devices.

Atomic mode setting only. :func:`xendisplback.kms.select.open_cards` is where it begins. Nothing is
imported here, since :mod:`xendisplback.host` needs :mod:`xendisplback.kms.mode` without libdrm.
"""
