# SPDX-License-Identifier: GPL-2.0-or-later
"""displif and XenBus without I/O: bytes in, values and decisions out. No trio, cffi or os here."""
