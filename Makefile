# Two commands on a fresh machine: `make demo` and `make test`. Everything they need they make.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check soak bench public docs lock clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(READY)  ## watch a label leak and a drifting input being caught (about a minute)
	@$(BIN)/tminus demo

test: $(READY)  ## check, then every suite; CI=true also demands Apache Kafka
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -q tests/embedded tests/kafka tests/wheels $(TESTS)

check: $(READY)  ## format, lint, types, import contracts, documentation, core tests
	@$(BIN)/ruff format --check -q .
	@$(BIN)/ruff check -q .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m pytest -q --ignore=tests/embedded --ignore=tests/kafka --ignore=tests/wheels

soak: $(READY)  ## the larger figures; output goes to docs/soak/
	@$(BIN)/python -m tests.soak

bench: $(READY)  ## ratios to peers, from one run
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

public: $(READY)  ## audit three public data sets, obtained by name (needs the package registries and a Debian)
	@for name in claims zones changelogs; do $(BIN)/python -m benchmarks.public.$$name || exit 1; done

docs: $(READY)  ## generated contracts: JSON Schema, AsyncAPI, open.sql samples
	@$(BIN)/python -m docs.generate

lock:  ## the hashed lock, names and hashes only (needs uv)
	uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --python-version 3.11 -o requirements.lock

clean:  ## forget the environment and the caches
	rm -rf $(VENV) .cache build dist

$(READY): requirements.lock requirements-flights.lock pyproject.toml clients/python/pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "python3 is not here: tminus needs Python 3.11 or newer" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "tminus needs Python 3.11 or newer, found $$($(PYTHON) -V)" >&2; exit 2; }
	@echo "[1/4] an environment of our own in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "[2/4] the locked packages, every one checked by its hash (about a minute)"
	@$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -q --require-hashes -r requirements.lock
	@echo "[3/4] the flights data, and tminus itself"
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation --require-hashes \
	  -r requirements-flights.lock
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e . -e clients/python
	@echo "[4/4] compiling the kernels once"
	@$(BIN)/python -m streams.warm
	@touch $@
