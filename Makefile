PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all mutants lint type bench figures examples matrix tpu docs

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with recjax and its tools (done once)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,plots]'
	@touch $@

demo: $(STAMP) ## compress a real photograph and back; results under demo/
	$(BIN)/python -m experiments.demo

# worksteal: a worker keeps to its files, and with them to their fixtures and compiled programs
PYTEST := $(BIN)/python -m pytest -q -n auto --dist worksteal

test: $(STAMP) ## run the quick tests
	$(PYTEST)

test-all: $(STAMP) ## run all tests, the slow ones too
	$(PYTEST) -m 'not gpu'

mutants: $(STAMP) ## plant bugs in a copy, one at a time, and see that the tests catch them
	$(BIN)/python -m tests.mutants

lint: $(STAMP) ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP) ## check types
	$(BIN)/pyright --pythonpath $(BIN)/python

# the first Python gets the oldest JAX, the others the newest that they can have
PYTHONS := python3.11 python3.12 python3.13
MATRIX := $(PYTHONS:%=runs/matrix/%/.installed)

matrix: $(MATRIX) ## code images in every environment, decode them in every other
	rm -rf runs/matrix/files
	$(firstword $(MATRIX:.installed=bin/python)) -m experiments.matrix runs/matrix/files $(MATRIX:.installed=bin/python)

runs/matrix/%/.installed: pyproject.toml
	$* -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.[plots]' $(if $(filter $*,$(firstword $(PYTHONS))),'jax==0.10.*')
	@touch $@

bench: $(STAMP) ## measure the block coder against NumPy
	$(BIN)/recjax bench blocks

figures: $(STAMP) ## compute and draw the figures, a few minutes each; at full scale with FULL=1
	$(BIN)/python -m experiments.figures $(if $(FULL),--full)

examples: $(STAMP) ## run the examples in full, half an hour; pictures under docs/_static/examples
	$(BIN)/python -m experiments.examples

tpu: runs/tpu/.installed ## compile the hot programs for a TPU without one; fail where a loop step has grown
	JAX_PLATFORMS=cpu runs/tpu/bin/python -m experiments.tpu

runs/tpu/.installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable '.[tpu]'
	@touch $@

docs: $(VENV)/.docs ## build the documentation, with every example run, into docs/_build/html
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@
