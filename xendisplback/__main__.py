# SPDX-License-Identifier: GPL-2.0-or-later
"""``python -m xendisplback``."""

import sys

from xendisplback.cli import main

sys.exit(main())
