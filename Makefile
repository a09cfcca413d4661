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

.PHONY: help demo dev test test-environments test-all test-system lint types docs pictures bench score-card campaigns all clean browser database

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

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
	@grep -qs postgres $@ && touch $@ || cp dagster.yaml $@

demo: $(VENV)/runtime $(DAGSTER_HOME)/dagster.yaml ## train three example experiments and print their results
	@$(BIN)/assay demo

dev: $(VENV)/runtime $(DAGSTER_HOME)/dagster.yaml ## start the Dagster UI, its address is printed last (PORT=3001: there)
	@exec $(BIN)/python -m resources.instance.web dev $(if $(PORT),--port $(PORT))

FAST := $(BIN)/python -m pytest -q --dist worksteal -m "not system" --ignore tests/system
test: $(VENV)/dev ## the fast suite: under a minute on two cores
	$(FAST) -n 2

# Libraries choose their arithmetic by the processor; here an x86 is told that it is an older one. Names that a processor
# doesn't have are ignored. The libraries read these before anything of ours runs, hence a suite per environment.
WITHOUT_AVX512 := OPENBLAS_CORETYPE=Haswell MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 \
	ATEN_CPU_CAPABILITY=avx2 NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR"
WITHOUT_AVX    := OPENBLAS_CORETYPE=Nehalem MKL_ENABLE_INSTRUCTIONS=SSE4_2 ONEDNN_MAX_CPU_ISA=SSE41 \
	ATEN_CPU_CAPABILITY=default NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
# Ends with the shell that started it.
BUSY := import os; shell = os.getppid(); all(os.getppid() == shell for _ in iter(int, 1))
test-environments: $(VENV)/dev ## the fast suite as on other processors, elsewhere, in random order, and on a busy machine
	$(WITHOUT_AVX512) $(FAST) -n 2
	$(WITHOUT_AVX) $(FAST) -n 2
	TZ=America/New_York LC_ALL=C $(FAST) -n 4
	$(FAST) -n 2 -p randomly
	for each in 1 2 3 4 5 6 7 8; do $(BIN)/python -c "$(BUSY)" & done; $(FAST) -n 2

# Most of its time is waiting; the longest files come first, so that no worker is left with one at the end.
test-system: $(VENV)/dev browser database ## real processes, web server, database and browser
	$(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m system tests/system tests/pipeline tests/unit

test-all: test test-system ## everything

browser: ## Debian's Chromium for the browser tests, where it is missing and can be installed
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }

database: ## Debian's PostgreSQL for the tests of the profile shared, where it is missing; without it they are skipped
	@command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 \
		|| { apt-get update -qq && apt-get install -y -qq postgresql; } \
		|| echo "PostgreSQL is missing and can't be installed here: its tests are skipped."

COUNT ?= 1000
CAMPAIGNS := hostile_specs mutated_specs hostile_neighbours annotations tables crafted_folders
campaigns: $(VENV)/dev ## hostile and messy inputs by seed, COUNT of each kind of campaign; a night: COUNT=100000
	for name in $(CAMPAIGNS); do $(BIN)/python -m tests.campaigns.$$name --seed $${SEED:-0} --count $(COUNT) || exit 1; done
	$(BIN)/python -m tests.campaigns.coverage --seed $${SEED:-0} --count $$(( $(COUNT) < 200 ? $(COUNT) : 200 ))
	$(BIN)/python -m tests.campaigns.photographs --seed 0 --count $$(( $(COUNT) < 61 ? $(COUNT) : 61 ))

lint: $(VENV)/dev ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/dev ## strict static types
	$(BIN)/mypy

docs: $(VENV)/dev ## write docs/jobs.md from the definitions
	$(BIN)/python -m docs.job_page

pictures: $(VENV)/dev browser ## take the pictures in docs/ again, in some minutes (some: ONLY="graph compare")
	$(BIN)/python -m docs.pictures $(ONLY)

bench: $(VENV)/dev ## measure, write benchmarks/RESULTS.md, fail where a target is missed (some: ONLY="runs locks")
	-@$(MAKE) --no-print-directory browser
	$(BIN)/python -m benchmarks.run $(ONLY)

score-card: $(VENV)/dev ## the house in numbers: sizes, imports, docstrings, each beside its target
	@$(BIN)/python tests/score_card.py

all: lint types test-all ## what CI runs

clean: ## remove what can be made again; keeps experiments and storage
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
