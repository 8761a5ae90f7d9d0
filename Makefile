# SPDX-License-Identifier: GPL-2.0-or-later
# Each target installs what it needs: Debian packages (as root, by apt), then a virtual environment in .venv.

VENV := .venv
PYTHON := /usr/bin/python3
BIN := $(VENV)/bin
BUILD_PACKAGES := python3 python3-dev python3-venv gcc pkg-config libxen-dev libdrm-dev libpng-dev
TEST_PACKAGES := $(shell cat tests/debian-packages.txt)
RIG_PACKAGES := $(shell cat tests/rig/host-packages.txt)

.PHONY: demo test lint bench rig rig-shell clean

demo: $(VENV)/installed
	$(BIN)/xendisplback demo

test: $(VENV)/installed-test
	$(MAKE) lint
	# Tests mostly wait, so more at a time than there are cores.
	$(BIN)/pytest -n 4

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(VENV)/installed-test
	$(BIN)/python -m tests.bench

rig: $(VENV)/rig-packages
	$(PYTHON) -m tests.rig

rig-shell: $(VENV)/rig-packages
	$(PYTHON) -m tests.rig --shell

# The extensions are rebuilt when their sources change; Python files are used in place.
$(VENV)/installed: pyproject.toml setup.py $(wildcard cffi_build/*)
	tests/apt-install $(BUILD_PACKAGES)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed tests/debian-packages.txt
	tests/apt-install $(TEST_PACKAGES)
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/rig-packages: tests/rig/host-packages.txt
	tests/apt-install $(RIG_PACKAGES)
	mkdir -p $(VENV)
	touch $@

clean:
	rm -rf $(VENV) build demo-out
