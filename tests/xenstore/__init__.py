# SPDX-License-Identifier: GPL-2.0-or-later
"""XenStore against Debian's own xenstored, run without Xen (see fakexen.c)."""
