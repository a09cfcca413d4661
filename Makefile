# Every target creates .venv and installs what it needs by itself: Python 3.11+, make and git are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Not compiling what is never imported halves the time; the rest is compiled when it is.
INSTALL = test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); $(PIP) install --no-compile -c constraints.txt -e
export DAGSTER_HOME := $(CURDIR)/.dagster_home
export DAGSTER_DISABLE_TELEMETRY := 1
# Compiled files are kept, also where the environment forbids it: compiling 400 files is a third of a process's start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo dev test test-all test-system lint types bench score-card all clean browser

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/runtime: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once, a minute or two) …"
	@$(INSTALL) .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once, a minute or two) …"
	@$(INSTALL) '.[dev]'
	@touch $(VENV)/runtime $@

$(DAGSTER_HOME)/dagster.yaml: dagster.yaml
	@mkdir -p $(DAGSTER_HOME)
	@cp dagster.yaml $@

demo: $(VENV)/runtime $(DAGSTER_HOME)/dagster.yaml ## train three example experiments and print their results
	@$(BIN)/python -m assay.cli.demo

dev: $(VENV)/runtime $(DAGSTER_HOME)/dagster.yaml ## open the Dagster UI on http://127.0.0.1:3000
	@$(BIN)/python -m resources.dagster_home
	$(BIN)/dagster dev --host 127.0.0.1 --port $${PORT:-3000}

test: $(VENV)/dev ## the fast suite: under a minute on two cores
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not system" --ignore tests/system

# Most of its time is waiting; the longest files come first, so that no worker is left with one at the end.
test-system: $(VENV)/dev browser ## real processes, web server and browser
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m system tests/system tests/pipeline tests/unit

test-all: test test-system ## everything

browser: ## Debian's Chromium for the browser tests, where it is missing and can be installed
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }

lint: $(VENV)/dev ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev ## strict static types
	$(BIN)/mypy

bench: $(VENV)/dev ## measure, and write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks.run

score-card: $(VENV)/dev ## the house in numbers: sizes, imports, docstrings, each beside its target
	@$(BIN)/python tests/score_card.py

all: lint types test-all ## what CI runs

clean: ## remove what can be made again; keeps experiments and storage
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
