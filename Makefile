# Everything a fresh machine needs: `make demo` and `make test` set themselves up in .venv (git-ignored).
VENV ?= .venv
PEERS ?= .venv-peers
DOCS ?= .venv-docs
PYTHON ?= python3
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-bits test-all check format peers docs clean

demo: $(VENV)/.installed
	$(VENV)/bin/ironbind demo --out runs/demo

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2

# what is promised to the bit, as on processors with other instructions: the variables take them away from torch, oneDNN and MKL
test-bits: $(VENV)/.installed-dev
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 OMP_NUM_THREADS=1 \
		$(VENV)/bin/python -m pytest -n 2 -m "bits and not slow"
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OMP_NUM_THREADS=1 \
		$(VENV)/bin/python -m pytest -n 2 -m "bits and not slow"

test-all: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -m "" --timeout=3600

check: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# the other attack libraries beside ours, in an environment of their own: docs/benchmarks.md
peers: $(PEERS)/.installed
	OMP_NUM_THREADS=1 $(PEERS)/bin/python benchmarks/peers.py --write

# the documentation as a site, in an environment of its own: site/index.html
docs: $(DOCS)/.installed
	PATH="$(CURDIR)/$(DOCS)/bin:$$PATH" NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) $(PEERS) $(DOCS) site runs build dist .pytest_cache .mypy_cache .ruff_cache

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

$(DOCS)/.installed: pyproject.toml constraints.txt
	@echo "setting up $(DOCS): the product and what builds its site, once"
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

$(PEERS)/.installed: pyproject.toml constraints.txt benchmarks/requirements.txt benchmarks/requirements-alone.txt
	@echo "setting up $(PEERS): the product and six peers, once"
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e . -r benchmarks/requirements.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r benchmarks/requirements-alone.txt
	@touch $@
