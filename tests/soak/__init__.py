# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon for hours: guests, monitors, cards and routes come and go at random, and nothing may be left of them.

- ``__main__``   ``make soak``: the run, its rounds, its verdict
- ``world``      the simulated host, the daemon on it, and who changes it
- ``life``       one domain from its creation to its end
- ``samples``    what is measured, and kept as CSV
- ``chart``      the same as a picture
"""
