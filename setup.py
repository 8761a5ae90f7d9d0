# SPDX-License-Identifier: GPL-2.0-or-later
"""The C extensions; everything else is in pyproject.toml."""

import subprocess
import sys

from setuptools import setup

LIBRARIES = ["xengnttab", "xenevtchn", "libdrm", "libpng"]

try:
    found = subprocess.run(["pkg-config", "--exists", *LIBRARIES], check=False).returncode == 0
except FileNotFoundError:
    found = False
if not found:
    sys.exit(
        "xendisplback needs the headers of libxengnttab, libxenevtchn, libdrm and libpng;"
        " Debian: apt install libxen-dev libdrm-dev libpng-dev pkg-config gcc python3-dev"
    )

setup(
    cffi_modules=[
        "cffi_build/xen_build.py:ffibuilder",
        "cffi_build/drm_build.py:ffibuilder",
        "cffi_build/flip_build.py:ffibuilder",
        "cffi_build/png_build.py:ffibuilder",
    ]
)
