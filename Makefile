# Everything a developer does. Try: make help
SHELL := /bin/sh
PYTHON := python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup test lint demo bench bench-peers model mutants matrix chaos soak clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Check the machine (Python, Java, Maven, psql) and make .venv
	@sh txid_sync/dev/prerequisites.sh
	@$(MAKE) --silent --no-print-directory .venv

# The stamp, not the folder, is the target: a half-finished installation is done again.
.PHONY: .venv
.venv: .venv/stamp

.venv/stamp: pyproject.toml requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	@touch $@

# Three processes with servers of their own: tests often wait. A file's tests stay together, and
# files keep the order of tests/conftest.py.
test: setup lint ## Lint, then run every test against real servers, then every version of them
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m tests.matrix --diagonal --but-default --at-once 3

lint: .venv ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/mypy
	@set -e; for script in $$(ls *.py 2>/dev/null); do $(BIN)/mypy "$$script"; done

demo: setup ## Throw-away servers, a load and a live view of the pipeline
	$(BIN)/python -m txid_sync.dev.demo

bench: setup ## Every claim of benchmarks/ in its short form; bench-NAME: one of them in full
	$(BIN)/python -m benchmarks --form short $(if $(RECORD),--record)

bench-%: setup
	$(BIN)/python -m benchmarks $* --form $(or $(FORM),full) $(if $(RECORD),--record)

bench-peers: setup ## Beside PGSync and a poller of timestamps; needs redis-server
	$(BIN)/python -m benchmarks.peers --form $(or $(FORM),full) $(if $(RECORD),--record)

model: setup ## Every schedule of the cursor and of the whole pipeline within bounds
	$(BIN)/python -m tests.model

mutants: setup ## Change the code in each way of a list and see which test finds it
	$(BIN)/python -m tests.mutants

matrix: setup ## Every PostgreSQL with every engine; every version through its conformance suite
	$(BIN)/python -m tests.matrix

chaos: setup ## Writers, kills and crashes for SECONDS=300 with SEED=..., STANDBY=1 (all optional)
	$(BIN)/python -m tests.chaos.fuzz --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED)) $(if $(STANDBY),--standby)

soak: setup ## An hour of load compressed: the change logs stay small, whatever runs
	$(BIN)/python -m tests.soak.soak --bursts $(or $(BURSTS),360)

clean: ## Remove .venv and everything that tools leave behind
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
