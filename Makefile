# Two commands on a fresh machine with Python >= 3.11: `make demo` and `make test`. Each makes .venv with pinned dependencies.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test bench lint types contracts clean

$(VENV)/.run: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "esm-runtime needs Python 3.11 or later: install it, or say make PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.run
	@$(BIN)/esm demo

# TESTS: how they are run. Most of the tests with real processes wait most of the time, so three run side by side; 0 is one after the other.
TESTS ?= -n 3 --dist loadfile

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(TESTS)

# BENCH: what to run, as --quick; BENCH=--help lists it.
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run $(BENCH)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .servers .esm build dist *.egg-info
