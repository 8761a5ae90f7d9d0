# SPDX-License-Identifier: GPL-2.0-or-later
"""Which picture goes on which output, and by which path."""
