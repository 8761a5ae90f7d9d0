# SPDX-License-Identifier: GPL-2.0-or-later
"""Installing: the wheel is one for all Python versions, and missing headers are one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from xendisplback import _ext
from xendisplback.errors import HostError

PROJECT = Path(__file__).parents[2]


def test_without_the_headers_one_line_names_the_debian_packages(tmp_path: Path) -> None:
    environment = {**os.environ, "PKG_CONFIG_LIBDIR": str(tmp_path), "PKG_CONFIG_PATH": ""}
    done = subprocess.run(
        [sys.executable, "setup.py", "--name"],
        cwd=PROJECT,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stderr.strip().splitlines() == [
        "xendisplback needs the headers of libxengnttab, libxenevtchn, libdrm and libpng;"
        " Debian: apt install libxen-dev libdrm-dev libpng-dev pkg-config gcc python3-dev"
    ]


def test_the_wheel_is_abi3_and_has_the_extensions(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(tmp_path), str(PROJECT)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    for extension in ("_xen", "_drm", "_flip", "_png"):
        assert f"xendisplback/_ext/{extension}.abi3.so" in names
        assert f"xendisplback/_ext/{extension}.pyi" in names
    assert "xendisplback/py.typed" in names


def test_the_source_archive_has_what_the_extensions_are_built_from(tmp_path: Path) -> None:
    # From a copy: setuptools writes its list of files into the tree.
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "*.so", "rig")
    shutil.copytree(PROJECT, tree, ignore=ignored)
    command = [sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", str(tmp_path)]
    subprocess.run(command, cwd=tree, check=True, capture_output=True, timeout=120)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = {name.partition("/")[2] for name in packed.getnames()}
    sources = {f"cffi_build/{path.name}" for path in (PROJECT / "cffi_build").glob("*.[chp]*")}
    assert "cffi_build/picture.h" in sources
    assert sources <= names


def test_a_missing_extension_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xendisplback._ext._xen", None)
    with pytest.raises(HostError, match=r"without its extension _xen; apt install libxen-dev"):
        _ext.load_xen()


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError("libdrm.so.2: cannot open shared object file: No such file")

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(HostError, match=r"needs libdrm\.so\.2; Debian: apt install libdrm2"):
        _ext.load_drm()
