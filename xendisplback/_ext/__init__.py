# SPDX-License-Identifier: GPL-2.0-or-later
"""The C extensions and their one loader: what can't be loaded says what to install.

Loaded on first use, so that importing the package needs neither Xen nor libdrm.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from xendisplback.errors import HostError

if TYPE_CHECKING:
    from xendisplback._ext import _drm, _flip, _png, _xen

    class XenModule(Protocol):
        ffi: _xen.FFI
        lib: _xen.Lib

    class DrmModule(Protocol):
        ffi: _drm.FFI
        lib: _drm.Lib

    class FlipModule(Protocol):
        ffi: _flip.FFI
        lib: _flip.Lib

    class PngModule(Protocol):
        ffi: _png.FFI
        lib: _png.Lib


def load_xen() -> XenModule:
    """libxengnttab and libxenevtchn. Raises HostError."""
    return cast("XenModule", _load("_xen", "libxen-dev", "libxengnttab1 libxenevtchn1"))


def load_drm() -> DrmModule:
    """libdrm. Raises HostError."""
    return cast("DrmModule", _load("_drm", "libdrm-dev", "libdrm2"))


def load_flip() -> FlipModule:
    """The flips' threads, rings, copies and conversions. Raises HostError."""
    return cast("FlipModule", _load("_flip", "gcc python3-dev", "libc6"))


def load_png() -> PngModule:
    """libpng. Raises HostError."""
    return cast("PngModule", _load("_png", "libpng-dev", "libpng16-16"))


def _load(name: str, build_packages: str, runtime_packages: str) -> object:
    module = f"{__name__}.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise HostError(
            f"xendisplback was built without its extension {name}",
            hint=f"apt install {build_packages}, then install it again (pip install .)",
        ) from error
    except ImportError as error:
        # The dynamic linker's words: "libxengnttab.so.1: cannot open shared object file: …".
        library = str(error).partition(":")[0]
        raise HostError(
            f"xendisplback needs {library}", hint=f"Debian: apt install {runtime_packages}"
        ) from error
