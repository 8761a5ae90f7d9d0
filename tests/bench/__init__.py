# SPDX-License-Identifier: GPL-2.0-or-later
"""``make bench``: what flips, buffers, starts and copies cost, on the simulated host. A file for each subject."""
