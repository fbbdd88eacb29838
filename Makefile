# Every target makes its own .venv where there is none, and brings it up to date when pyproject.toml has changed.
#   REQUIRE_ALL=1       what is missing on this machine fails instead of being skipped (CI sets it)
#   QUICK=1             for bench and bench-NAME: the same in under two minutes
#   PYTHON=python3.12   which Python makes .venv (3.11 or newer; found by itself otherwise)
#   JOBS=4              test processes

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

JOBS ?= 2
BIN := .venv/bin
# Processes take groups and tests in tests/conftest.py's order: what takes longest comes first.
PARALLEL := -n $(JOBS) --dist loadgroup --no-loadscope-reorder
# One stamp for what a user runs (520 MB), one for what a developer needs beside it (400 MB more, type checkers above all).
VENV := .venv/.made
RUN := .venv/.installed
DEV := .venv/.installed-dev
RIVALS := .venv-rivals/.installed
RLIABLE := .venv-rliable/.installed

# Tests start hundreds of Pythons: each would compile the package anew, and pytest the tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test quick lint bench bench-rivals figures golden-rliable simulator-figures clean

help: ## say this
	@sed -n 's/^\([a-z%-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: $(RUN) ## learn on an embedded board and in the simulator, replay, compare: about three minutes
	$(BIN)/python -m subsong.demo

test: lint ## everything that CI checks
	$(BIN)/python -m pytest $(PARALLEL)

quick: $(DEV) ## the tests that take seconds
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# basedpyright sees device/ with MicroPython's standard library in CPython's place: the stubs bring it to site-packages/stdlib.
lint: $(DEV) ## style, formatting, types, who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python --typeshedpath "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	$(BIN)/lint-imports

bench: $(DEV) ## every benchmark; QUICK=1 for a short version
	@shopt -s nullglob; for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file"; done

figures: $(DEV) ## every benchmark, its output written into docs/figures.md
	@{ echo "# Figures"; echo; echo "Written by \`make figures\`; each block is what the command above it printed, on one machine, in one run."; \
	for name in figures learning link runlog startup; do \
	  echo; echo "## make bench-$$name"; echo; echo '```'; $(BIN)/python "benchmarks/bench_$$name.py" | sed "s|$$PWD/||g"; echo '```'; \
	done; } > docs/figures.md.new; mv docs/figures.md.new docs/figures.md

bench-rivals: $(DEV) $(RIVALS) ## the simulator against NumPy, PyTorch and JAX, which get an environment of their own: 6 GB
	$(BIN)/python benchmarks/bench_sim.py rivals

simulator-figures: $(DEV) $(RIVALS) ## every section of bench-sim, written into docs/simulator-figures.md: half an hour
	{ echo "# Figures of the simulator"; echo; echo "Written by \`make simulator-figures\` on one machine, in one run; docs/simulator.md says what they mean."; echo; \
	PICTURE=docs/images/simulator-costs.png $(BIN)/python benchmarks/bench_sim.py; \
	echo; echo "![What a sweep gains by workers, and what its runs cost as they grow](images/simulator-costs.png)"; \
	} > docs/simulator-figures.md.new; mv docs/simulator-figures.md.new docs/simulator-figures.md

golden-rliable: $(RLIABLE) ## what rliable says of scores, into tests/golden/rliable.json; it gets an environment of its own: 500 MB
	.venv-rliable/bin/python benchmarks/rliable_reference.py tests/golden/rliable.json

bench-%: $(DEV) ## one benchmark: benchmarks/bench_NAME.py
	$(BIN)/python benchmarks/bench_$(subst -,_,$*).py

clean: ## remove .venv, .venv-rivals, .venv-rliable and what tools left; run logs stay
	rm -rf .venv .venv-rivals .venv-rliable build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV):
	@fits() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	fail() { echo "make: $$1" >&2; exit 1; }; \
	if fits .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
	for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13 python3.14); do \
	  if fits "$$python"; then break; else python=; fi; \
	done; \
	[ -n "$$python" ] || fail 'no Python 3.11 or newer: $(or $(PYTHON),sudo apt-get install python3 python3-venv)'; \
	"$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || \
	  fail "$$python cannot make virtual environments: sudo apt-get install python3-venv"; \
	echo "making .venv with $$python"; \
	"$$python" -m venv --clear .venv
	@touch $@

$(RUN): pyproject.toml $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(DEV): pyproject.toml $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(RUN) $@

# pip 25.1 or newer knows groups.
$(RIVALS): pyproject.toml $(VENV)
	$(BIN)/python -m venv --clear .venv-rivals
	.venv-rivals/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-rivals/bin/python -m pip install --quiet --disable-pip-version-check --group rivals
	@touch $@

$(RLIABLE): pyproject.toml $(VENV)
	$(BIN)/python -m venv --clear .venv-rliable
	.venv-rliable/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	.venv-rliable/bin/python -m pip install --quiet --disable-pip-version-check --group rliable
	@touch $@
