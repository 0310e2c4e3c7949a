# Everything works from a clean checkout with Python >= 3.11, make and git.
SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(PY) -m pip --disable-pip-version-check --no-input
# Tests run in so many processes; a file's tests stay together, and so do those that start the program's processes.
WORKERS ?= 2
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# The folders and files of `make quick`: no browser, no page, no server.
QUICK := $(addprefix tests/,data drift learning performance plots services storage) $(filter-out %_scheduler.py,$(wildcard tests/test_*.py))
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help install run prefect quick test check soak clean

help:
	@echo 'make install   environment in ./.venv'
	@echo 'make run       app, API and scheduler in the foreground; Ctrl-C ends them'
	@echo 'make prefect   a Prefect server and the checks as its flows in the foreground, in an environment of their own'
	@echo 'make quick     the tests that need no browser and no server, under a minute: before every commit'
	@echo 'make test      all tests, in two processes (WORKERS=4: in four)'
	@echo 'make check     format, lint, security, types, layers, pins and licences, schemas'
	@echo 'make soak      the long campaigns at full counts, resumable'

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt constraints.txt
	@test -n '$(PYTHON)' || { echo 'No Python >= 3.11 with venv was found. Install it (Debian: apt-get install python3-venv) or say PYTHON=/path/to/python3.12.' >&2; exit 1; }
	@$(PIP) --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo 'Installing into ./$(VENV); the first time takes a minute or two.'
	@$(PIP) install --quiet -r requirements.txt -c constraints.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@$(PIP) install --quiet -r requirements-dev.txt -c constraints.txt
	@touch $@

run: $(VENV)/.installed
	@$(PY) -m core.jobs.runner

$(VENV)-prefect/.installed: requirements-prefect.txt $(VENV)/.installed
	@test -x $(VENV)-prefect/bin/pip || $(PYTHON) -m venv --clear $(VENV)-prefect
	@echo 'Installing Prefect into ./$(VENV)-prefect; the first time takes a minute or two.'
	@$(VENV)-prefect/bin/pip --disable-pip-version-check --no-input install --quiet -r requirements-prefect.txt
	@touch $@

prefect: $(VENV)/.installed $(VENV)-prefect/.installed
	@$(PY) -m core.jobs.prefect_runner

quick: $(VENV)/.installed-dev
	@$(PY) -m pytest -q $(PARALLEL) -m 'not slow and not campaign' $(or $(TESTS),$(QUICK))

test: $(VENV)/.installed-dev
	@$(PY) tests/browser.py
	@$(PY) -m pytest -q $(PARALLEL) $(TESTS)

soak: $(VENV)/.installed-dev
	@CONTINUAL_SOAK=1 $(PY) -m pytest -q -s -m campaign --timeout=0 $(TESTS)

check: $(VENV)/.installed-dev
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports
	@$(PY) tests/dependencies.py
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/wish.yml
	@$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(VENV)/bin/hadolint Dockerfile
	@$(VENV)/bin/zizmor --offline --quiet --no-progress --persona pedantic .github
	@if command -v promtool >/dev/null; then \
		promtool check config --syntax-only monitoring/prometheus/prometheus.yml && promtool check rules monitoring/prometheus/rules/*.yml && \
		promtool test rules monitoring/prometheus/tests/*.yml; \
	else echo 'promtool is not installed (apt-get install prometheus): the Prometheus rules were not checked.'; fi

clean:
	@rm -rf $(VENV) $(VENV)-prefect $(VENV)-kuma .mypy_cache .ruff_cache .import_linter_cache test-results
