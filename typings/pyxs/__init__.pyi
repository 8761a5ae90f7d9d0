# SPDX-License-Identifier: GPL-2.0-or-later
"""What we use of pyxs 0.4.1, which has no annotations."""

class PyXSError(Exception): ...
