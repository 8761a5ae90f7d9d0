# SPDX-License-Identifier: GPL-2.0-or-later
"""``xendisplback check``: finds what will not work before it does not."""
