# make demo | make test do all their own set-up. Nothing is redone when it is up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# two operators are trained with torch: the tests need it, the demo does not
TORCH := $(VENV)/.installed-torch
MIN_FREE_MB := 6000

# country borders (Natural Earth, public domain): the package is checked by its SHA-256 when it is taken in
ATLAS := world-atlas
ATLAS_VERSION := 2.0.2

.PHONY: help setup boundaries demo study test check ui clean
help:
	@echo "make demo   set up, build the simulated world, run everything, write the report"
	@echo "make study  set up, with torch, run the whole study on the simulated world; stopped, it goes on where it was"
	@echo "make test   set up, with torch, run the tests"
	@echo "make ui     open Dagster on the demo's history"
	@echo "make check  ruff, types, import rules, Dagster definitions"
	@echo "make boundaries  country borders again, where npm was missing at the set-up"
	@echo "make setup  the set-up alone (.venv, pins of constraints.txt)"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "found Python %d.%d, expected 3.11 or newer: run make PYTHON=/path/to/python3.11" % v[:2])'
	@$(PYTHON) -c 'import shutil, sys; free = shutil.disk_usage(".").free // 2**20; sys.exit(0 if free >= $(MIN_FREE_MB) else "found %d MB free on this disk, expected at least $(MIN_FREE_MB): free some space" % free)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools wheel
	@echo "installing (a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]'
	@$(MAKE) --silent boundaries || echo "without country borders 'isthmus plan --country' is not possible; all else is"
	@touch $(STAMP)

boundaries:
	@command -v npm > /dev/null || { echo "country borders: found no npm, which brings $(ATLAS)@$(ATLAS_VERSION)"; exit 1; }
	@cd $(VENV) && npm pack --silent $(ATLAS)@$(ATLAS_VERSION) > /dev/null && bin/isthmus boundaries $(ATLAS)-$(ATLAS_VERSION).tgz

demo: $(STAMP)
	@$(BIN)/isthmus demo

study: $(TORCH)
	@$(BIN)/isthmus world build --size demo
	@$(BIN)/isthmus run --config examples/study.toml

$(TORCH): $(STAMP)
	@echo "installing torch ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev,torch]'
	@touch $(TORCH)

test: $(TORCH)
	@$(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dg check defs

ui: $(STAMP)
	@$(BIN)/isthmus ui

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
