# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest device's life: discovery, connection, buffers, requests, release."""
