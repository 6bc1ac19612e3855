# README.md names the two commands that matter: make run, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the tests are about: a change of any of it makes 'make check' run them again.
SOURCES = $(wildcard $(shell git ls-files --cached --others --exclude-standard 2>/dev/null || find . -name '*.[plmc]*' -not -path './.*'))

.PHONY: run demo pictures test check check-deep bench chaos chaos-mutants steps lock sbom install install-dev \
	install-tools clean

run: install
	@$(BIN)/octowait up

# The same against a simulated Octopus Server with projects that share machines.
demo: install
	@$(BIN)/python -m tests.simulator.demo

# Browsers and whole installations need a core each; the other tests wait more than they work. The steps are run by
# processes of their own: PowerShell has crashed when it was started by one that had run the integration tests.
test: install-dev
ifdef ARGS
	$(BIN)/python -m pytest -n 2 $(ARGS)
else
	$(BIN)/python -m pytest -n 2 tests/chaos tests/e2e
	$(BIN)/python -m pytest -n 6 tests/steps
	$(BIN)/python -m pytest -n 4 --ignore=tests/chaos --ignore=tests/e2e --ignore=tests/steps
	@touch $(VENV)/tested
endif

check: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.sizes
	$(MAKE) $(VENV)/tested

$(VENV)/tested: $(SOURCES)
	$(MAKE) test

# What takes too long for every change: fuzzers, all that can happen to three runs, both stores under faults, each mutant.
check-deep: install-tools
	$(BIN)/python -m tests.fuzz.payloads 300
	$(BIN)/python -m tests.fuzz.api 300
	$(BIN)/python -m tests.chaos.explore
	$(BIN)/python -m tests.chaos --expected
	$(BIN)/python -m tests.chaos.older
	$(BIN)/python -m tests.chaos --grants 100000 --slots 64 --machines 240 --store valkey
	$(BIN)/python -m tests.chaos --grants 100000 --slots 64 --machines 240 --store redis
	$(BIN)/python -m tests.chaos.mutate
	$(BIN)/python -m tests.bench hostile --minutes 2

bench: install-tools
	$(BIN)/python -m tests.bench $(ARGS)

# Real processes under seeded faults: make chaos ARGS="--grants 100000 --store redis --seed 7 --write".
chaos: install-dev
	$(BIN)/python -m tests.chaos $(ARGS)

# octowait broken on purpose: which check finds it.
chaos-mutants: install-dev
	$(BIN)/python -m tests.chaos.mutate $(ARGS)

# A picture of each page, in three widths, light and dark, with 40 machines and 2,000 runs: .pictures/.
pictures: install-dev
	$(BIN)/python -m tests.e2e.pictures $(ARGS)

# Writes the scripts in steps/ from their parts.
steps:
	$(PYTHON) steps/parts/build.py

# Pins of everything that is installed, with the hashes of its files: those that there are stay, unless ARGS=--upgrade.
lock: install-tools
	@$(call LOCK,requirements.lock,requirements.txt requirements-build.txt)
	@$(call LOCK,requirements-dev.lock,requirements-dev.txt -c requirements.lock)
	@$(call LOCK,requirements-tools.lock,requirements-tools.txt -c requirements-dev.lock)

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(ARGS) --output-file $(1) $(2)

# What octowait is made of, for those who compare it with lists of known weaknesses: .sbom/octowait.cdx.json (CycloneDX).
sbom: install-tools
	$(BIN)/python -m tests.sbom

install: $(VENV)/installed $(VENV)/compiled
install-dev: $(VENV)/installed-dev $(VENV)/compiled
install-tools: $(VENV)/installed-tools $(VENV)/compiled

# Nothing is installed that is not in a lock. The package itself is made by what is installed, not by what a build brings.
PIP_INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes

# Pip comes last into an environment: one whose making broke off has none, and is made anew.
$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'octowait needs Python 3.11 or newer: make run PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) \
		|| { rm -rf $(VENV); echo 'octowait needs the venv module; on Debian: apt-get install python3-venv' >&2; exit 1; }

$(VENV)/installed: requirements.lock requirements.txt pyproject.toml | $(VENV)/bin/pip
	@echo 'Installing octowait into $(VENV) ...'
	@$(PIP_INSTALL) -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Without bytecode every process compiles all of octowait at its start, where PYTHONDONTWRITEBYTECODE is set each time.
$(VENV)/compiled: $(shell find app workers -name '*.py') | $(VENV)/installed
	@$(BIN)/python -m compileall -q app workers
	@touch $@

$(VENV)/installed-dev: requirements-dev.lock $(VENV)/installed
	@echo 'Installing what the tests need into $(VENV) ...'
	@$(PIP_INSTALL) -r requirements-dev.lock
	@touch $@

$(VENV)/installed-tools: requirements-tools.lock $(VENV)/installed-dev
	@echo 'Installing what this command needs into $(VENV) ...'
	@$(PIP_INSTALL) -r requirements-tools.lock
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
