# `make demo` and `make test` do everything on a fresh machine: Python >= 3.11 is all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
DATA ?=
export DENSCONF_DATA ?= $(wildcard ../shared/data)
export PYTHONHASHSEED ?= 0

.PHONY: demo test lint types doctest docs bench trust versions zoo wheel clean

# Python 3.11 brings pip 23, which knows no dependency groups.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

# One stamp per set of requirements: a second `make` installs nothing.
$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e '.[paper]'
	@touch $@

$(VENV)/.%: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e . --group $*
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/python -m sklearn_densconf.paper demo $(if $(DATA),--data $(DATA)) --out demo

# A run that was killed leaves its parts of the coverage behind.
test: $(VENV)/.tests
	rm -f .coverage .coverage.*
	SCIPY_ARRAY_API=1 $(BIN)/python -m coverage run -m pytest --doctest-continue-on-failure
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

lint: $(VENV)/.tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.tests
	$(BIN)/mypy

doctest: $(VENV)/.tests
	SCIPY_ARRAY_API=1 $(BIN)/python -m pytest --doctest-modules -p no:cacheprovider sklearn_densconf
	SCIPY_ARRAY_API=1 $(BIN)/python -m pytest --doctest-glob='*.md' --doctest-glob='*.rst' -p no:cacheprovider README.md

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python tests/links.py docs/_build/html

bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks

# Needs no environment: it makes one a row.
versions:
	$(PYTHON) tests/versions.py $(ROWS)

trust: $(VENV)/.tests
	$(BIN)/python -m tests.trust

zoo: $(VENV)/.zoo
	$(BIN)/python -m tests.zoo

wheel: $(VENV)/.wheel
	rm -rf dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	.ci/wheel

clean:
	rm -rf $(VENV) build dist demo docs/_build docs/auto_examples docs/generated .coverage .coverage.*
