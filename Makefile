# The development tasks. `make` lists the targets; `make check` runs the same checks as CI.
#
# PYTHON is the interpreter with which VENV is created. TESTS selects the tests to run:
#   make test TESTS="tests/unit -k gate"

PYTHON ?= python3
VENV ?= .venv
TESTS ?= tests

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Without .pyc files each program takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE
MAKEFLAGS += --no-print-directory

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## Create .venv from the locked requirements; needs only python3

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
up: setup ## Run web and worker until Ctrl-C; start a Redis if REDIS_URL is not set
	@trap : INT; scripts/up.sh $(BIN) || test $$? -eq 130 # 130: it was stopped with Ctrl-C

.PHONY: servers
servers: setup ## Install the servers for the tests (as root on Debian), or list the missing ones
	@scripts/servers.sh $(BIN)/python

.PHONY: test
test: setup servers ## Run the tests on SQLite, and on temporary PostgreSQL and Redis servers
	$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

.PHONY: test-redis-8
test-redis-8: setup servers ## Run the Redis tests with redis-py 8
	@scripts/test-redis-8.sh $(BIN)/python

.PHONY: coverage
coverage: setup servers ## Run the tests and show the branches that they do not cover; slower
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage report

.PHONY: test-matrix
test-matrix: ## Run the tests on every supported version of Python
	@scripts/test-matrix.sh 3.11 3.12 3.13

.PHONY: test-wheel
test-wheel: ## Run the unit tests on the installed wheel, with the lowest and the highest versions
	@scripts/test-wheel.sh 3.11 3.12 3.13

.PHONY: lint
lint: setup ## Check style and format; `.venv/bin/ruff check --fix` fixes many findings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: mypy pyright ## Check types with mypy and pyright

.PHONY: mypy
mypy: setup
	$(BIN)/mypy

.PHONY: pyright
pyright: setup
	$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: contracts
contracts: setup ## Check which package may import which
	$(BIN)/lint-imports

.PHONY: docs
docs: setup ## Check that the generated command reference is up to date
	$(BIN)/python manage.py commands check
	$(BIN)/python manage.py commands docs --check

SITE := $(VENV)-site

$(SITE)/.ready: requirements-docs.txt
	@$(PYTHON) -m venv $(SITE)
	@$(SITE)/bin/python -m pip install --quiet --require-hashes -r requirements-docs.txt
	@touch $@

.PHONY: site
site: $(SITE)/.ready ## Build the documentation as a site into build/site; fails at a broken link
	@NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build
	@echo "built build/site; to read it: $(PYTHON) -m http.server -d build/site"

.PHONY: pictures
pictures: setup ## Draw the pictures of the documentation, and record the session at a terminal
	$(BIN)/python -m scripts.site.pictures
	$(BIN)/python -m scripts.site.recording

# Runs the checks side by side, and shows the output of each in one piece if this make can.
TOGETHER := --jobs $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: check
check: setup ## Run all checks, as CI does
	@$(MAKE) $(TOGETHER) lint types contracts docs site
	@$(MAKE) test test-redis-8
	@scripts/image-test.sh $(BIN)/python if-possible

.PHONY: bench-startup
bench-startup: ## Compare start-up time with Django, Flask-Migrate, Alembic, Typer and others
	$(PYTHON) benchmarks/startup.py

.PHONY: bench-latency
bench-latency: setup servers ## Count the round trips to a database far away, next to Django, Alembic and Flask-Migrate
	$(BIN)/python benchmarks/latency.py

.PHONY: bench-cache
bench-cache: setup servers ## Compare clearing a million keys with redis-cli
	$(BIN)/python benchmarks/cache.py

.PHONY: bench-jobs
bench-jobs: setup servers ## Compare listing and purging 100,000 jobs with ARQ's own functions
	$(BIN)/python benchmarks/jobs.py

.PHONY: bench-cleanup
bench-cleanup: setup servers ## Compare deleting a million old rows with one DELETE; measure how long others wait
	$(BIN)/python benchmarks/cleanup.py

.PHONY: bench-load
bench-load: setup servers ## Measure how a cleanup affects other users of the table, with pgbench
	$(BIN)/python benchmarks/load.py

.PHONY: bench-batch
bench-batch: setup servers ## Measure the cost of checkpoints, and how a batch scales with workers
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/fleet.py

.PHONY: simulate
simulate: setup ## Simulate ten billion rows on 200 workers and show the bottleneck
	$(BIN)/python benchmarks/simulate.py

.PHONY: faults
faults: setup servers ## Kill runs, cut connections, crash servers; disturb each command; try random tables
	$(BIN)/python benchmarks/faults.py
	$(BIN)/python benchmarks/moments.py
	$(BIN)/python benchmarks/migrate_faults.py
	RANDOM_TABLES=500 $(BIN)/python -m pytest -q -s -n 0 tests/servers/services/data/test_random_tables.py
	SCHEMA_EXAMPLES=100 $(BIN)/python -m pytest -q tests/commands/test_random_models.py
	TAMPERINGS=1000 $(BIN)/python -m pytest -q -s -n 0 tests/servers/services/audit/test_verify.py -k random
	SIGNAL_MOMENTS=200 $(BIN)/python -m pytest -q -n 0 tests/acceptance/test_signals.py -k any_time
	STATE_ORDERS=50 $(BIN)/python -m pytest -q -n 0 tests/servers/services/batch/test_state_machine.py

.PHONY: bench-data
bench-data: setup servers ## Compare data export and import with psql, pg_dump, sqlite3, Django and SQLAlchemy
	$(BIN)/python benchmarks/data.py

# In the tests most passwords are samples, so only what looks like a real key counts there.
.PHONY: secrets
secrets: setup ## Look for secrets in all files; .secrets.baseline lists the false alarms
	@git ls-files -z -- ':!tests' ':!benchmarks' | xargs -0 $(BIN)/detect-secrets-hook --no-verify --baseline .secrets.baseline
	@git ls-files -z -- tests benchmarks | xargs -0 $(BIN)/detect-secrets-hook --no-verify --baseline tests/.secrets.baseline

.PHONY: image-test
image-test: setup servers ## Build the image with buildah and run its processes in it; as root on Debian
	@scripts/image-test.sh $(BIN)/python

.PHONY: lock
lock: ## Compile requirements*.txt from pyproject.toml; UPGRADE=--upgrade updates versions
	@PYTHON=$(PYTHON) scripts/lock.sh $(UPGRADE)

.PHONY: build
build: setup ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

.PHONY: clean
clean: ## Remove everything that these targets created
	rm -rf .venv .venv-* build dist demo.sqlite3* shop.sqlite3* .coverage .up .image outbox
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
