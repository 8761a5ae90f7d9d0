# SPDX-License-Identifier: GPL-2.0-or-later

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from tests.xen.library import Library
from xendisplback._ext import load_xen
from xendisplback.xen import gnttab


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    """In the place of libxengnttab, where all of Xen's device files are permitted."""
    fake = Library()

    def load() -> object:
        return SimpleNamespace(ffi=load_xen().ffi, lib=fake)

    def permitted(path: str, mode: int) -> bool:
        return True

    monkeypatch.setattr(gnttab, "load_xen", load)
    monkeypatch.setattr(os, "access", permitted)
    return fake
