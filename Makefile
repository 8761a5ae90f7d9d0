# SPDX-License-Identifier: GPL-2.0-or-later
# Each target installs what it needs: Debian packages (as root, by apt), then a virtual environment in .venv.

VENV := .venv
PYTHON := /usr/bin/python3
BIN := $(VENV)/bin
BUILD_PACKAGES := python3 python3-dev python3-venv gcc pkg-config libxen-dev libdrm-dev libpng-dev
TEST_PACKAGES := $(shell cat tests/debian-packages.txt)
RIG_PACKAGES := $(shell cat tests/rig/host-packages.txt)

# How long "make fuzz" runs each of its three targets.
SECONDS := 60

# How long "make soak" runs (fractions too).
HOURS := 1

# Of a run of "make soak", or of the third target of "make fuzz", that is to be repeated.
SEED :=

.PHONY: demo test lint bench fuzz soak rig rig-shell clean

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

# What covers more than before is kept in the cache, for the next time.
fuzz: $(VENV)/installed-fuzz
	for target in parsers attacks; do \
		$(BIN)/python -m tests.hostile.fuzz $$target $(SECONDS) \
			"$${XENDISPLBACK_CACHE:-$$HOME/.cache/xendisplback}/fuzz/$$target" || exit 1; \
	done
	SEED=$(SEED) $(BIN)/python -m tests.hostile.sanitized $(SECONDS) \
		"$${XENDISPLBACK_CACHE:-$$HOME/.cache/xendisplback}/fuzz/attacks"

soak: $(VENV)/installed-test
	$(BIN)/python -m tests.soak $(HOURS) $(if $(SEED),--seed $(SEED))

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

$(VENV)/installed-fuzz: $(VENV)/installed-test
	$(BIN)/pip install --quiet --editable '.[fuzz]'
	touch $@

$(VENV)/rig-packages: tests/rig/host-packages.txt
	tests/apt-install $(RIG_PACKAGES)
	mkdir -p $(VENV)
	touch $@

clean:
	rm -rf $(VENV) build demo-out soak-out
