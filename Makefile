PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BASIC := $(VENV)/.basic
INSTALLED := $(VENV)/.installed

.PHONY: demo demo-see demo-recall test test-all docs bench format lint clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      train a phoneme-to-spelling model on CMUdict and look at it (one and a half to four minutes)"
	@echo "make demo-see  train a classifier of handwritten digits and look at it (half a minute)"
	@echo "make demo-recall  store the digits and retrieve them from damaged cues (ten seconds)"
	@echo "make test      linting, strict types, import contracts and the tests"
	@echo "make test-all  the same with the slow tests"
	@echo "make bench     the speed ratios of benchmarks/"
	@echo "make docs      the documents as a site in build/site"
	@echo "make format    rewrite the code in the house format"

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --editable

$(BASIC): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) .
	touch $@

$(INSTALLED): $(BASIC)
	$(PIP) '.[dev]'
	touch $@

demo: $(BASIC)
	$(BIN)/triptych demo spell

demo-see: $(BASIC)
	$(BIN)/triptych demo see

demo-recall: $(BASIC)
	$(BIN)/triptych demo recall

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two processes with a thread each: two PyTorch jobs with default threads would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

test: lint
	$(PYTEST)

test-all: lint
	$(PYTEST) -m ''

docs: $(BASIC)
	$(PIP) '.[docs]'
	$(BIN)/python -m mkdocs build --strict --site-dir build/site

bench: $(INSTALLED)
	$(BIN)/python benchmarks/spell.py
	$(BIN)/python benchmarks/see.py
	$(BIN)/python benchmarks/recall.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
