# Everything a fresh machine needs: `make demo` and `make test` set themselves up in .venv (git-ignored).
VENV ?= .venv
PYTHON ?= python3
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all check format clean

demo: $(VENV)/.installed
	$(VENV)/bin/ironbind demo --out runs/demo

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2

test-all: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -m "" --timeout=3600

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV): torch and a dozen small packages, once"
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up $(VENV) for development, once"
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.installed
