# Each target creates what it needs, starting from Python 3.11 alone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TUTORIALS := $(wildcard tutorials/*.ipynb)
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: demo test lint docs tutorials clean

demo: $(VENV)/.installed
	$(BIN)/python demo/demo.py

test: $(VENV)/.installed-test
	$(BIN)/pytest

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.installed-doc
	$(BIN)/sphinx-build --fail-on-warning --keep-going docs docs/_build/html

tutorials: $(VENV)/.installed-doc
	$(BIN)/jupyter execute --inplace --timeout=300 $(TUTORIALS)

clean:
	rm -rf $(VENV) docs/_build docs/generated demo/*.h5mu demo/*.png

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "couplevi needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/pip pyproject.toml constraints.txt
	$(INSTALL) .
	touch $@

$(VENV)/.installed-%: $(BIN)/pip pyproject.toml constraints.txt
	$(INSTALL) ".[$*]"
	touch $@
