# What a developer does here. Bare `make` lists the targets; `make check` is what CI runs.
#
# PYTHON is the interpreter that VENV is made from, TESTS narrows a test run:
#   make test TESTS="tests/unit -k gate"

PYTHON ?= python3
VENV ?= .venv
TESTS ?= tests

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Without .pyc files everything starts three times as slowly.
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Make .venv from the lock, with nothing but python3

$(READY): requirements-dev.txt pyproject.toml
	@scripts/check-python.sh $(PYTHON)
	@echo "setting up $(VENV) from requirements-dev.txt ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable .
	@$(BIN)/python -m compileall -q oneoff app commands migrations
	@touch $@

.PHONY: demo
demo: setup ## Migrate a SQLite database and manage its users
	@scripts/demo.sh $(BIN)

.PHONY: up
up: setup ## Run web and worker here until Ctrl-C, with a Redis of their own if none is set
	@scripts/up.sh $(BIN)

.PHONY: servers
servers: setup ## Install the servers the tests need (as root on Debian), or say which are missing
	@scripts/servers.sh $(BIN)/python

.PHONY: test
test: setup servers ## Run the tests on SQLite and on a PostgreSQL and Redis of their own
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

.PHONY: test-redis-8
test-redis-8: setup servers ## Run the tests of Redis with the newest version of its driver
	@scripts/test-redis-8.sh $(BIN)/python

.PHONY: coverage
coverage: setup servers ## Run the tests and show which branches they miss; slower
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage report

.PHONY: test-matrix
test-matrix: ## Run the tests on every supported version of Python
	@scripts/test-matrix.sh 3.11 3.12 3.13

.PHONY: lint
lint: setup ## Check style and format; `.venv/bin/ruff check --fix` mends much of it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: setup ## Check types, as mypy and as pyright see them
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: contracts
contracts: setup ## Check which package may import which
	$(BIN)/lint-imports

.PHONY: docs
docs: setup ## Check that the generated command reference is fresh
	$(BIN)/python manage.py commands check
	$(BIN)/python manage.py commands docs --check

.PHONY: check
check: lint types contracts docs test test-redis-8 ## All of the above, as CI does

.PHONY: bench-startup
bench-startup: ## Measure start-up beside Django, Flask-Migrate, Alembic, Typer and others
	$(PYTHON) benchmarks/startup.py

.PHONY: bench-cache
bench-cache: setup servers ## Measure clearing a million keys beside redis-cli
	$(BIN)/python benchmarks/cache.py

.PHONY: bench-jobs
bench-jobs: setup servers ## Measure listing and purging 100,000 jobs beside ARQ's own functions
	$(BIN)/python benchmarks/jobs.py

.PHONY: bench-cleanup
bench-cleanup: setup servers ## Measure deleting a million old rows beside one DELETE, and what others wait
	$(BIN)/python benchmarks/cleanup.py

.PHONY: bench-load
bench-load: setup servers ## Measure what a table's users notice of a cleanup, with pgbench
	$(BIN)/python benchmarks/load.py

.PHONY: bench-batch
bench-batch: setup servers ## Measure what a batch's checkpoint costs, and how it scales over workers
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/fleet.py

.PHONY: simulate
simulate: setup ## Work out what bounds ten billion rows on 200 workers
	$(BIN)/python benchmarks/simulate.py

.PHONY: faults
faults: setup servers ## Kill, cut off and crash under batches hundreds of times, and count the rows
	$(BIN)/python benchmarks/faults.py

.PHONY: bench-data
bench-data: setup servers ## Measure data export and import beside psql, pg_dump, sqlite3, Django and SQLAlchemy
	$(BIN)/python benchmarks/data.py

.PHONY: lock
lock: ## Compile requirements*.txt from pyproject.toml; UPGRADE=--upgrade takes new versions
	@PYTHON=$(PYTHON) scripts/lock.sh $(UPGRADE)

.PHONY: build
build: setup ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

.PHONY: clean
clean: ## Remove all that these targets made
	rm -rf .venv .venv-* build dist demo.sqlite3* shop.sqlite3* .coverage .up outbox
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
