# SPDX-License-Identifier: GPL-2.0-or-later
"""Xen as a backend sees it: XenStore, grant mappings and event channels."""
