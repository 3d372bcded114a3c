# Every target sets up what it needs; `make` alone lists them.
SHELL := /bin/bash
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test chaos bench lint format types contracts docs newest fuzz proto lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## make .venv from the lock (a no-op when nothing changed)

.venv/ready: requirements/dev.txt pyproject.toml scripts/setup.sh scripts/common.sh
	@scripts/setup.sh

.venv/demo-ready: requirements/demo.txt pyproject.toml scripts/setup.sh scripts/common.sh
	@scripts/setup.sh demo

demo: .venv/demo-ready ## watch a kill reach every guard, with real servers (under a minute)
	@.venv/bin/rescind demo

test: setup ## run all tests: unit and property without a network, beside integration (TIMES=1)
	@scripts/test.sh

chaos: setup ## 100,000 simulated and 80 real schedules of faults; each protection is needed
	@scripts/chaos.sh

bench: setup ## measure everything the documents state
	@$(PY) -m benchmarks all

lint: setup ## ruff: rules and formatting
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

format: setup ## mend what ruff can mend
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

types: setup ## mypy, strict
	@$(PY) -m mypy

contracts: setup ## import-linter: roles import one way
	@.venv/bin/lint-imports --no-cache

docs: setup ## check links and generated parts of the documents (WRITE=1 renews the parts)
	@$(PY) docs/check.py $(if $(WRITE),--write)

newest: setup ## install the newest release of everything, apart; run unit tests and demo there
	@rm -rf dist && $(PY) -m build --no-isolation --wheel . >/dev/null
	@scripts/ranges.sh newest dist/*.whl

fuzz: setup ## ten million bent badges on all cores, then property tests with many more examples
	@$(PY) -m tests.fuzz $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))
	@HYPOTHESIS_PROFILE=fuzz $(PY) -m pytest tests/property

proto: setup ## make the gRPC messages from their .proto again
	@scripts/proto.sh

lock: setup ## pin the dependencies again after a change in pyproject.toml (RENEW=1: newest)
	@scripts/lock.sh

clean: ## remove .venv, builds and caches
	@rm -rf .venv dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
