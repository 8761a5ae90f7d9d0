# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is master, from debugfs."""

from __future__ import annotations

from xendisplback.kms.master import master_holder, parse_master

LINUX_6_1 = """\
             command   pid dev master a   uid      magic
      systemd-logind   512   0   n    n     0          0
         gnome shell  1399   0   y    y  1000          0
"""

LINUX_6_12 = """\
             command  tgid dev master a   uid      magic        name  id
                Xorg  1399   0   y    y     0          0     <unset>   3
"""


def test_finds_the_master_by_the_headers_names() -> None:
    assert parse_master(LINUX_6_1) == "gnome shell (pid 1399)"


def test_nobody_is_master() -> None:
    assert parse_master(LINUX_6_1.replace(" y ", " n ")) is None


def test_newer_kernels_have_more_columns() -> None:
    assert parse_master(LINUX_6_12) == "Xorg (pid 1399)"


def test_text_of_another_shape_tells_nothing() -> None:
    assert parse_master("") is None
    assert parse_master("a b c\n1 2 3\n") is None
    assert parse_master(LINUX_6_1.splitlines()[0] + "\nshort\n") is None


def test_no_device_tells_nothing() -> None:
    assert master_holder("/nonexistent/card0") is None
